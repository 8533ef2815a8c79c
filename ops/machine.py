"""`make machine`: a fault by hand on a machine of the lab."""

from __future__ import annotations

from ops import machines
from ops.console import say


def machine(environment: str, name: str, action: str) -> int:
    """Does it and says how the machine is afterwards."""
    say(f"{name}: {action} done, now {machines.power(environment, name, action)}")
    return 0
