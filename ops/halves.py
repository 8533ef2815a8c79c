"""A fault of one half is not the other's: what the engine did not begin any more on the other side is done without it.

The engine finishes what it has begun when a resource fails, and begins nothing more. Its own --continue-on-error does
not help: where a cluster is not made, it ends with an error at the first resource that was to be in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from infra.paths import state
from ops import engine
from ops.console import Failure, Phases

CLOUD, LINK = "isthmus:cloud:", "isthmus:link:"
"""What the types of components begin with."""

Extra = Mapping[str, str]
"""Variables of the engine's run."""


def half(urn: str) -> str:
    """`onprem`, `cloud`, or `link`, which belongs to both: by the outermost component that a resource is in."""
    outermost = urn.split("::")[2]
    if outermost.startswith(CLOUD):
        return "cloud"
    return "link" if outermost.startswith(LINK) else "onprem"


def finish(environment: str, failed: Iterable[str], phases: Phases, extra: Extra) -> dict[str, str]:
    """Brings about each half with none of the `failed` resources (URNs), without the others; half -> why it failed too.

    Without such resources nobody can tell whose fault it was, and nothing is done.
    """
    faulty = {half(urn) for urn in failed}
    found = {}
    for name, way in (("onprem", _onprem), ("cloud", _cloud)):
        if faulty and name not in faulty:
            phases.step(f"{name} has no part in what failed: it is finished without it")
            found[name] = way(environment, phases, state(environment) / "logs" / f"up-{name}.log", extra)
    return found


def _onprem(environment: str, phases: Phases, log: Path, extra: Extra) -> str:
    """Exactly what the program of that site alone makes, so that nothing which it leaves out counts as removed."""
    alone = engine.without_cloud()
    try:
        told = engine.pulumi(environment, "preview", "--json", "--stack", environment, extra=alone).stdout
    except Failure as fault:
        return str(fault)
    made = {step["urn"] for step in json.loads(told)["steps"] if not step["op"].startswith("delete")}
    # With the stack goes all that is in it.
    targets = {urn for urn in made if not engine.is_stack(urn)}
    return _up(environment, phases, log, sorted(targets), {**extra, **alone})


def _cloud(environment: str, phases: Phases, log: Path, extra: Extra) -> str:
    """All that is in its components, of the whole program: it takes keys and its first model from on-prem."""
    return _up(environment, phases, log, [f"urn:pulumi:{environment}::*::{CLOUD}**"], extra)


def _up(environment: str, phases: Phases, log: Path, targets: Iterable[str], extra: Extra) -> str:
    done = engine.up(environment, phases, log, targets=targets, extra=extra) is None
    return "" if done else f"{engine.first_error(log)} (log: {log})"
