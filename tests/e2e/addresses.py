"""Who holds a floating address, asked on the hosts themselves."""

from __future__ import annotations

from infra.environment import Environment
from ops import machines


def holder(settings: Environment, address: str, *, without: str | None = None) -> str:
    """The machine that holds a floating address now; a machine `without` power can't be asked."""
    for host in settings.onprem.hosts:
        if host.name != without and holds(host.name, address):
            return host.name
    raise AssertionError(f"no machine holds {address}")


def holds(machine: str, address: str) -> bool:
    """Whether the machine has that address now."""
    return f" {address}/" in machines.run(machine, "ip", "-o", "-4", "addr", "show")
