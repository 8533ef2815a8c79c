"""`make up`: from whatever the machine has to an environment that answers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from infra import addressing, requested
from infra import environment as environments
from infra.paths import ROOT, state
from infra.providers.isthmus import lab
from infra.providers.isthmus.handler import ResourceError
from infra.providers.isthmus.podman import Podman
from ops import amazon, backend, bootstrap, cluster, engine, footprint, halves, lock, sites
from ops.console import Failure, Phases, say
from ops.mirror import publish, sync

ANSWERS_S = 120
"""The engine has waited for the pods already."""

PLAYBOOK = "isthmus:ansible:Playbook"


def up(environment: str, *, hosts: bool = False) -> int:
    """Sets up, fills the mirror, runs the engine, waits until every workload answers, prints endpoints and times.

    `hosts`: have the engine look at the hosts in check mode, and put right what somebody changed on them.
    """
    settings = load(environment)
    phases = Phases()
    with lock.held(environment):
        with phases.phase("tools"):
            bootstrap.ensure()
        if settings.onprem.provisioner == "lab":
            make_room(environment)
        elif missing := backend.stand_ins():
            raise Failure(
                f"{environment} is no lab, and the plugins for {', '.join(missing)} are stand-ins, for labs only",
                fix="run it where get.pulumi.com is reached; `make preview` works here",
            )
        if settings.cloud and settings.cloud.provisioner == "aws":
            amazon.ensure(settings.cloud)
        with phases.phase("mirror"):
            fill_mirror(settings)
        if settings.state:
            backend.ensure(settings.state)
        prepare(environment)
        footprint.remember(environment)
        with phases.phase("pulumi up"):
            apply(settings, phases, hosts=hosts)
        endpoints = save_outputs(environment)
        with phases.phase("answers"):
            # Amazon's balancer has a name that takes minutes to spread, and answers in the VPC and at the site alone:
            # there the engine has waited until the pods serve.
            for name in sites.of(settings):
                wait_until_it_answers(endpoints[name].ingress, settings.workloads.inference.model)
    say(f"\n{environment} is up:")
    for name, at in endpoints.items():
        say(f"    {name:<8} API {at.api}   ingress {at.ingress}")
    say(phases.table())
    say('\nNext: make predict; make status; eval "$(make -s env)" for your own kubectl')
    return 0


def load(environment: str) -> environments.Environment:
    """The checked environment file; a fault in it ends the command before anything is touched."""
    path = ROOT / "environments" / f"{environment}.yaml"
    try:
        return environments.load(path)
    except environments.InvalidEnvironment as fault:
        raise Failure(
            f"the environment file is refused:\n{fault}\n", fix="mend the lines above; nothing was touched"
        ) from None


def make_room(environment: str) -> None:
    """Ends dead labs and refuses a live one, before long work and before the machine's footprint is taken.

    This checkout's own machines go too if their state is gone: nothing could continue them, or tell them apart.
    """
    try:
        lab.claim(str(ROOT), environment, Podman.default())
    except ResourceError as fault:
        raise Failure(str(fault), fix="one of the two commands above") from None
    if (state(environment) / "pulumi").exists():
        return
    if any((found.checkout, found.environment) == (str(ROOT), environment) and found.machines for found in lab.labs()):
        say("the lab's machines are there, but the state that made them is gone: they are removed, and made anew")
        lab.remove_lab(str(ROOT), environment)


def fill_mirror(settings: environments.Environment) -> None:
    """Makes what the mirror lacks, and sends a real site's registry what its hosts ask for."""
    records = sync.sync(also=requested.artifacts(settings))
    # A lab's registry serves the mirror's folder as it lies on this machine.
    if settings.onprem.provisioner == "hosts":
        publish.publish(addressing.mirror_url(settings.onprem.network), records.values())


def prepare(environment: str) -> None:
    """The stack and the key with which Ansible reaches the hosts; both are made once and stay in `.state`."""
    ssh_key(environment)
    engine.select_stack(environment)


def ssh_key(environment: str) -> Path:
    """The private key for the hosts of this environment."""
    key = state(environment) / "ssh" / "id_ed25519"
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"isthmus-{environment}", "-f", str(key)], check=True
        )
    return key


def apply(settings: environments.Environment, phases: Phases, *, hosts: bool) -> None:
    """Runs `pulumi up`, continuing what an earlier run left. What fails on one site leaves the other finished."""
    environment, extra = settings.name, engine.look_at_hosts() if hosts else {}
    engine.settle(environment, phases)
    log = state(environment) / "logs" / "up.log"
    failed = engine.up(environment, phases, log, extra=extra)
    if failed is None:
        return
    keep_kubeconfigs(environment)
    told = [f"`pulumi up` of {environment} did not finish: {engine.first_error(log)}"]
    for name, fault in (halves.finish(environment, failed, phases, extra) if settings.cloud else {}).items():
        if not fault:
            save_outputs(environment, name)
        told.append(f"{name} did not finish without it either: {fault}" if fault else f"{name} is finished without it")
    raise Failure(
        "; ".join(told), log=log, fix="mend the cause that it names and run `make up` again: it continues from here"
    )


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """URLs of a site."""

    api: str
    ingress: str


def save_outputs(environment: str, *only: str) -> dict[str, Endpoints]:
    """Site -> its URLs, from the stack's outputs; kubeconfigs go to files that only their owner can read.

    `only`: the sites that are up, where not all are.
    """
    shown = engine.pulumi(environment, "stack", "output", "--json", "--show-secrets", "--stack", environment)
    outputs = json.loads(shown.stdout)
    found = {}
    for site, prefix in (("onprem", ""), ("cloud", "cloud_")):
        if only and site not in only:
            continue
        if f"{prefix}kubeconfig" in outputs:
            _save(environment, site, outputs[f"{prefix}kubeconfig"])
        if f"{prefix}ingress_url" in outputs:
            found[site] = Endpoints(api=outputs[f"{prefix}api_endpoint"], ingress=outputs[f"{prefix}ingress_url"])
    return found


def keep_kubeconfigs(environment: str) -> None:
    """Saves those of clusters that are there although the run failed, which then has no outputs: `make env` opens them.

    What goes wrong here is not told: the run's own fault is what has to be mended.
    """
    with contextlib.suppress(Failure, OSError, ValueError, KeyError, TypeError, AttributeError):
        shown = engine.pulumi(environment, "stack", "export", "--show-secrets", "--stack", environment)
        for site, kubeconfig in kubeconfigs(json.loads(shown.stdout)["deployment"]["resources"]).items():
            _save(environment, site, kubeconfig)


def kubeconfigs(resources: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Site -> the kubeconfig that its playbook gave, from the engine's resources with their secrets shown."""
    found = {}
    for one in resources:
        # A playbook that makes a cluster is named as its site.
        site, results = one["urn"].rpartition("::")[2], (one.get("outputs") or {}).get("results")
        if one["type"] != PLAYBOOK or site not in ("onprem", "cloud") or not results:
            continue
        if kubeconfig := json.loads(results["plaintext"]).get("kubeconfig"):
            found[site] = kubeconfig
    return found


def _save(environment: str, site: str, kubeconfig: str) -> None:
    path = cluster.kubeconfig_file(environment, site)
    path.touch(mode=0o600)
    path.write_text(kubeconfig)


def wait_until_it_answers(url: str, model: str) -> None:
    """Waits until the model answers through the ingress address, as a client sees it."""
    deadline = time.monotonic() + ANSWERS_S
    answer = "no connection"
    while time.monotonic() < deadline:
        try:
            response = httpx.get(f"{url}/v2/models/{model}/ready", timeout=2)
            if response.status_code == 200:
                return
            answer = f"HTTP {response.status_code}"
        except httpx.HTTPError as fault:
            answer = str(fault)
        time.sleep(0.5)
    raise Failure(
        f"model {model} does not answer at {url} within {ANSWERS_S} s ({answer})",
        fix="`make status` shows which part is not ready",
    )
