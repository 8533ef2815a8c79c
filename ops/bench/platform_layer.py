"""How long the platform took on a cluster that had just been made, from what the engine wrote down of that `make up`.

The engine keeps of each resource when it was created, which for one that is awaited is when it was ready, and of each
of its runs the start and the end. Nothing is run now: the figures are of the run that made cluster and platform.
Workloads are begun as soon as what they need of the platform is there, and share the machine with the rest of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ops import cluster, engine
from ops.console import Failure

PLAYBOOK = "isthmus:onprem:Site$isthmus:onprem:Cluster$isthmus:ansible:Playbook"
PLATFORM = "isthmus:platform:Platform$"
NETWORK = "Cilium"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the engine that ended well; the engine writes whole seconds."""

    start: datetime
    end: datetime

    def holds(self, moment: datetime) -> bool:
        return self.start <= moment and (moment - self.end).total_seconds() < 1


def measure(environment: str) -> dict[str, float]:
    """Seconds of the on-prem site's platform in the run that made it."""
    if not cluster.kubeconfig_file(environment).exists():
        raise Failure(f"environment {environment} is not up", fix=f"make up ENV={environment}")
    exported = json.loads(engine.pulumi(environment, "stack", "export", "--stack", environment).stdout)
    everything = ("--json", "--page-size", "10000")
    history = json.loads(engine.pulumi(environment, "stack", "history", "--stack", environment, *everything).stdout)
    found = figures((exported.get("deployment") or {}).get("resources") or [], history or [])
    if found is None:
        raise Failure(
            f"no run of the engine made cluster and platform of {environment} in one go",
            fix=f"make down ENV={environment} && make up ENV={environment}, then this again",
        )
    return found


def figures(resources: list[dict[str, Any]], history: list[dict[str, Any]]) -> dict[str, float] | None:
    """From the playbook's end to the last resource of the platform, of each part of it too; None without such a run."""
    made = {one["urn"]: datetime.fromisoformat(one["created"]) for one in resources if _counts(one)}
    playbooks = [moment for urn, moment in made.items() if kinds(urn) == PLAYBOOK]
    parts = {urn: moment for urn, moment in made.items() if kinds(urn).startswith(PLATFORM)}
    if not playbooks or not parts:
        return None
    start, end = max(playbooks), max(parts.values())
    run = next((one for one in runs(history) if one.holds(start) and all(map(one.holds, parts.values()))), None)
    if run is None:
        return None
    whole = (run.end - run.start).total_seconds()
    took = (end - start).total_seconds()
    result = {"platform, s": took, "of the engine's run": took / whole}
    last: dict[str, datetime] = {}
    for urn, moment in parts.items():
        if part := part_of(urn):
            last[part] = max(moment, last.get(part, moment))
    if NETWORK in last:
        result["platform after its network, s"] = (end - last[NETWORK]).total_seconds()
    for part, moment in sorted(last.items(), key=lambda item: item[1]):
        result[f"until {part}, s"] = (moment - start).total_seconds()
    return result


def runs(history: list[dict[str, Any]]) -> list[Run]:
    """The runs that changed something and ended well."""
    return [
        Run(start=datetime.fromisoformat(one["startTime"]), end=datetime.fromisoformat(one["endTime"]))
        for one in history
        if one["kind"] == "update" and one.get("result") == "succeeded"
    ]


def kinds(urn: str) -> str:
    """The types of a resource's parents and its own, joined by $."""
    return urn.split("::", 3)[2]


def part_of(urn: str) -> str | None:
    """The platform's component that a resource belongs to, such as Csi; None for one that belongs to it directly."""
    part = kinds(urn).split("$")[1]
    return part.rpartition(":")[2] if part.startswith("isthmus:platform:") else None


def _counts(resource: dict[str, Any]) -> bool:
    """Whether it is something that was made, and is not about to go."""
    return bool(resource.get("custom") and resource.get("created") and not resource.get("delete"))
