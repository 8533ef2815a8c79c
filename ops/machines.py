"""The machines of this checkout's lab, as the commands and the tests use them."""

from __future__ import annotations

from infra.paths import ROOT
from infra.providers.isthmus import lab
from infra.providers.isthmus.handler import ResourceError
from infra.providers.isthmus.podman import Podman
from ops.console import Failure


def statuses(environment: str) -> dict[str, str]:
    """running, stopped or paused, for each machine of the lab; empty without a lab."""
    return {
        name: status
        for found in lab.labs()
        if (found.checkout, found.environment) == (str(ROOT), environment)
        for name, status in found.machines.items()
    }


def power(environment: str, name: str, action: str) -> str:
    """Does one of lab.ACTIONS to a machine; returns its status afterwards."""
    if action not in lab.ACTIONS:
        raise Failure(f"DO={action!r} can't be done to a machine", fix=f"DO is one of {', '.join(lab.ACTIONS)}")
    known = statuses(environment)
    if name not in known:
        raise Failure(
            f"the lab of {environment} has no machine {name!r}", fix=f"NAME is one of {', '.join(known) or '(make up)'}"
        )
    try:
        return lab.machine_power(name, action)
    except ResourceError as fault:
        raise Failure(str(fault), fix="`make status` shows what the machine is doing") from fault


def run(name: str, *command: str, timeout_s: float = 30) -> str:
    """Runs a command on a machine from outside its network, as at its console; returns what it printed."""
    return Podman.default().execute(name, *command, timeout_s=timeout_s)


def cgroup(name: str) -> str:
    """The machine's control group on this host, which accounts for all that runs in it."""
    found = Podman.default().inspect(name)
    if found is None:
        raise Failure(f"there is no machine {name}", fix="make up")
    return found["State"]["CgroupPath"]
