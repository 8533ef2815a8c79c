"""Machines of a benchmark's own: the hosts of an environment, elsewhere, and the two roads that lead them to a cluster.

They were just made, in a store and on a network of their own, so that a running environment is not touched.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from infra import addressing, inventory, naming
from infra.artifacts import Index, file_url
from infra.environment import Environment, Host
from infra.onprem.cluster import FOLDER, PLAYBOOK, TIMEOUT_S
from infra.paths import CACHE
from infra.platform import cilium, cluster
from infra.providers.isthmus import lab
from infra.providers.isthmus.events import Recorder
from infra.providers.isthmus.handler import Context
from infra.providers.isthmus.log import EngineLog
from infra.providers.isthmus.machine import Machine
from infra.providers.isthmus.network import Network
from infra.providers.isthmus.playbook_diff import changed_hosts
from infra.providers.isthmus.podman import Podman
from infra.providers.isthmus.runner import Job, run
from ops.console import Failure, say

CIDR = IPv4Network("10.93.0.0/24")
STORE = CACHE / "bench-install"
NETWORK = "isthmus-bench"
SCRIPT = Path(__file__).with_name("bare_kubeadm.sh")
STEP_TIMEOUT_S = 900.0


@dataclass(frozen=True, kw_only=True)
class Site:
    """A network with the mirror on it, and machines; `host_keys`: name -> ssh host key of each that was booted."""

    environment: Environment
    index: Index
    podman: Podman
    key: Path
    host_keys: dict[str, str] = field(default_factory=dict)
    settled: dict[str, Any] = field(default_factory=dict)
    """What the last run of the playbook was told; a run is about the hosts that have changed since."""

    def boot(self, host: Host) -> None:
        """Makes the machine of a host; afterwards it answers ssh, and has nothing on it."""
        own = {"hostname": host.name, "address": str(host.address), "network": NETWORK, "disks": _disks(host)}
        authorized = {"authorized_key": self.key.with_suffix(".pub").read_text()}
        made = Machine(self.podman).create(_context(), {**_common(self.environment, self.index), **own, **authorized})
        self.host_keys[host.name] = made[1]["host_key"]

    def remove(self, host: Host) -> None:
        """Takes a host's machine away, with all that was on it."""
        Machine(self.podman).delete(_context(), host.name, {"disks": _disks(host)})
        del self.host_keys[host.name]

    def bare(self, host: str, *arguments: str) -> str:
        """Runs a step of bare_kubeadm.sh on a host; returns what it printed."""
        return self.podman.execute(
            host, "bash", "-s", "--", *arguments, stdin=SCRIPT.read_text(), timeout_s=STEP_TIMEOUT_S
        )

    def preparation(self) -> list[str]:
        """The arguments of that script's step `prepare`."""
        mirror = addressing.mirror_url(self.environment.onprem.network)
        names = [name for name in naming.NODE_FILES if name not in ("etcdctl", "etcdutl")]
        urls = [f"{name}={file_url(mirror, name, self.index.artifact(name))}" for name in names]
        return ["prepare", mirror, self.index.artifact("pause").image, *urls]

    def playbook(self, environment: Environment) -> None:
        """What `make up` runs on the hosts of the environment, all of which were booted."""
        onprem = environment.onprem
        inputs: dict[str, Any] = {
            "playbook": PLAYBOOK,
            "inventory": inventory.inventory(onprem, self.host_keys),
            "variables": inventory.variables("onprem", onprem, environment.kubernetes.version, self.index),
        }
        job = Job(
            folder=FOLDER,
            private_key=self.key,
            work_dir=STORE / "ansible",
            timeout_s=TIMEOUT_S,
            changed_hosts=changed_hosts(self.settled, inputs),
            **inputs,
        )
        recorder = Recorder(log=EngineLog(), redact=str, quiet=True)
        if not run(job, recorder).succeeded:
            raise Failure(f"the playbook failed: {recorder.failures or recorder.complaint}", fix="`make up` says more")
        self.settled.update(inputs, completed=True)

    def network(self) -> None:
        """Gives the cluster its network, as the platform would, and waits until every node is Ready."""
        version = self.environment.kubernetes.version
        objects = cilium.objects(cluster.of_hosts(self.environment.onprem), self.index, version)
        objects.sort(key=lambda one: one["kind"] != "Namespace")  # first, because others are in them
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--filename", "-", stdin=listed)
        self.kubectl("wait", "node", "--all", "--for", "condition=Ready", f"--timeout={STEP_TIMEOUT_S:.0f}s")

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Asks the cluster, on its first control plane; returns the answer.

        Not through the load balancers, whose reload in a playbook's run would end a long answer.
        """
        first = self.environment.onprem.having("control_plane")[0]
        who = ("--kubeconfig", "/etc/kubernetes/admin.conf", "--server", f"https://{first.address}:6443")
        command = ("/usr/local/bin/kubectl", *who, *arguments)
        return self.podman.execute(first.name, *command, stdin=stdin, timeout_s=STEP_TIMEOUT_S)


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
def made(environment: Environment) -> Iterator[Site]:
    """New machines of all hosts, with the mirror on their network; all of it is gone afterwards, also what a killed run
    left."""
    podman = Podman(root=STORE / "podman", run=STORE / "run")
    _remove(podman)
    (STORE / "ssh").mkdir(parents=True)
    key = STORE / "ssh" / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    index, network = Index.load(), environment.onprem.network
    try:
        Network(podman).create(
            _context(),
            {
                "name": NETWORK,
                "cidr": str(CIDR),
                "gateway": str(network.gateway),
                "mirror_address": str(network.mirror_address),
                "registry_binary": str(index.artifact("registry").local),
                "registry_storage": str(CACHE / "mirror" / "registry"),
                "kind": "site",
                **_common(environment, index),
            },
        )
        site = Site(environment=environment, index=index, podman=podman, key=key)
        for host in environment.onprem.hosts:
            site.boot(host)
        yield site
    finally:
        _remove(podman)


def _disks(host: Host) -> dict[str, str]:
    """Where a machine has which folder as a disk of its own."""
    return {at: str(STORE / host.name / naming.disk_folder(at)) for at in naming.MACHINE_DISKS}


def _context() -> Context:
    return Context(urn="bench", preview=False, log=EngineLog())


def _common(environment: Environment, index: Index) -> dict[str, str]:
    """What network and machines are both told."""
    image = index.artifact("machine")
    return {
        "image": str(image.local),
        "image_digest": image.digest,
        "checkout": str(STORE),
        "environment": environment.name,
    }


def _remove(podman: Podman) -> None:
    if STORE.exists():
        lab.remove_lab(podman=podman)
        shutil.rmtree(STORE)


def ticket(printed: str) -> tuple[str, str, str]:
    """Endpoint, token and hash of the authority, from what kubeadm printed of how to join."""
    found = re.search(r"join (\S+) --token (\S+) --discovery-token-ca-cert-hash (\S+)", printed)
    if found is None:
        raise Failure(f"kubeadm printed no join command: {printed[-300:]}", fix="run it again")
    return found[1], found[2], found[3]


def seconds(name: str, work: Callable[[], object]) -> float:
    """How long it takes; says so."""
    start = time.monotonic()
    work()
    took = time.monotonic() - start
    say(f"    {name}: {took:.0f} s")
    return took
