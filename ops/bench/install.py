"""How long from bare hosts to a cluster: our playbook against a plain kubeadm script, same machines, same mirror.

Each side gets machines that were just made, in a store and on a network of their own, so that a running environment is
not touched; it costs both sides the same. The image pulls and the two etcd joins are most of it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from infra import addressing, inventory, naming
from infra.artifacts import Index, file_url
from infra.environment import Environment
from infra.onprem.cluster import FOLDER, PLAYBOOK, TIMEOUT_S
from infra.paths import CACHE
from infra.providers.isthmus import lab
from infra.providers.isthmus.events import Recorder
from infra.providers.isthmus.handler import Context
from infra.providers.isthmus.log import EngineLog
from infra.providers.isthmus.machine import Machine
from infra.providers.isthmus.network import Network
from infra.providers.isthmus.podman import Podman
from infra.providers.isthmus.runner import Job, run
from ops.console import Failure, say
from ops.up import load

CIDR = IPv4Network("10.93.0.0/24")
STORE = CACHE / "bench-install"
SCRIPT = Path(__file__).with_name("bare_kubeadm.sh")
STEP_TIMEOUT_S = 900.0


@dataclass(frozen=True, kw_only=True)
class Site:
    """Machines that answer ssh and have nothing on them; `host_keys`: host name -> ssh host key."""

    environment: Environment
    index: Index
    podman: Podman
    key: Path
    host_keys: dict[str, str]


def measure(environment: str) -> dict[str, float]:
    """Seconds of both roads to a cluster of the environment's hosts, and ours in multiples of the bare script's."""
    settings = moved(load(environment))
    with machines(settings) as site:
        bare = _seconds("bare kubeadm script", lambda: bare_script(site))
    with machines(settings) as site:
        ours = _seconds("playbook", lambda: playbook(site))
    return {"bare kubeadm script, s": bare, "our playbook, s": ours, "ratio": ours / bare}


def moved(environment: Environment) -> Environment:
    """The same environment at other addresses, beside one that may be running."""
    site, network = environment.onprem, environment.onprem.network

    def shift(address: IPv4Address) -> IPv4Address:
        return CIDR[int(address) - int(network.cidr.network_address)]

    names = ("gateway", "mirror_address", "api_address", "ingress_address")
    ranges = {"cidr": CIDR, "admin_cidrs": (CIDR,)}
    there = network.model_copy(update={**ranges, **{name: shift(getattr(network, name)) for name in names}})
    hosts = tuple(host.model_copy(update={"address": shift(host.address)}) for host in site.hosts)
    return environment.model_copy(
        update={"name": "bench", "onprem": site.model_copy(update={"network": there, "hosts": hosts})}
    )


@contextmanager
def machines(environment: Environment) -> Iterator[Site]:
    """New machines with the mirror on their network; all of it is gone afterwards, also what a killed run left."""
    podman = Podman(root=STORE / "podman", run=STORE / "run")
    _remove(podman)
    (STORE / "ssh").mkdir(parents=True)
    key = STORE / "ssh" / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    index, site = Index.load(), environment.onprem
    image = index.artifact("machine")
    common = {
        "image": str(image.local),
        "image_digest": image.digest,
        "checkout": str(STORE),
        "environment": environment.name,
    }
    context = Context(urn="bench", preview=False, log=EngineLog())
    try:
        Network(podman).create(
            context,
            {
                "name": "isthmus-bench",
                "cidr": str(CIDR),
                "gateway": str(site.network.gateway),
                "mirror_address": str(site.network.mirror_address),
                "registry_binary": str(index.artifact("registry").local),
                "registry_storage": str(CACHE / "mirror" / "registry"),
                "kind": "site",
                **common,
            },
        )
        keys = {}
        for host in site.hosts:
            disks = {at: str(STORE / host.name / naming.disk_folder(at)) for at in naming.MACHINE_DISKS}
            own = {"hostname": host.name, "address": str(host.address), "network": "isthmus-bench", "disks": disks}
            authorized = {"authorized_key": key.with_suffix(".pub").read_text()}
            keys[host.name] = Machine(podman).create(context, {**common, **own, **authorized})[1]["host_key"]
        yield Site(environment=environment, index=index, podman=podman, key=key, host_keys=keys)
    finally:
        _remove(podman)


def _remove(podman: Podman) -> None:
    if STORE.exists():
        lab.remove_lab(podman=podman)
        shutil.rmtree(STORE)


def bare_script(site: Site) -> None:
    """kubeadm by hand: all hosts prepared side by side, one init, the others join one after the other."""
    onprem = site.environment.onprem
    first, *others = onprem.hosts
    mirror = addressing.mirror_url(onprem.network)
    needed = [name for name in naming.NODE_FILES if name not in ("etcdctl", "etcdutl")]
    urls = [f"{name}={file_url(mirror, name, site.index.artifact(name))}" for name in needed]
    prepare = ["prepare", mirror, site.index.artifact("pause").image, *urls]
    _seconds("    hosts", partial(_side_by_side, site, prepare))
    version, network = site.environment.kubernetes.version, onprem.network
    init = ["init", str(first.address), version, str(network.pod_cidr), str(network.service_cidr)]
    _seconds("    init", partial(_on, site, first.name, *init))
    ticket = _on(site, first.name, "ticket")
    found = re.search(r"join (\S+) --token (\S+) --discovery-token-ca-cert-hash (\S+)", ticket)
    if found is None:
        raise Failure(f"kubeadm printed no join command: {ticket[-300:]}", fix="run it again")
    for host in others:
        join = ["join", str(host.address), *found.groups(), ticket.split()[-1]]
        _seconds("    join", partial(_on, site, host.name, *join))


def _side_by_side(site: Site, arguments: list[str]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: _on(site, host.name, *arguments), site.environment.onprem.hosts))


def _on(site: Site, host: str, *arguments: str) -> str:
    return site.podman.execute(host, "bash", "-s", "--", *arguments, stdin=SCRIPT.read_text(), timeout_s=STEP_TIMEOUT_S)


def playbook(site: Site) -> None:
    """What `make up` runs on the hosts."""
    onprem = site.environment.onprem
    job = Job(
        folder=FOLDER,
        playbook=PLAYBOOK,
        inventory=inventory.inventory(onprem, site.host_keys),
        variables=inventory.variables("onprem", onprem, site.environment.kubernetes.version, site.index),
        private_key=site.key,
        work_dir=STORE / "ansible",
        timeout_s=TIMEOUT_S,
    )
    recorder = Recorder(log=EngineLog(), redact=str, quiet=True)
    if not run(job, recorder).succeeded:
        raise Failure(f"the playbook failed: {recorder.failures or recorder.complaint}", fix="`make up` says more")


def _seconds(name: str, work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    seconds = time.monotonic() - start
    say(f"    {name}: {seconds:.0f} s")
    return seconds
