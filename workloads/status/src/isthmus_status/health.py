"""Whether a site is well, and what is not; pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from isthmus_status.models import Cluster, Reading, Site

State = Literal["healthy", "degraded", "unknown"]


@dataclass(frozen=True)
class Health:
    """The badge of a site, and why it is not `healthy`."""

    state: State
    reasons: list[str]


def of(site: Site) -> Health:
    """What is known to be ill makes a site degraded; otherwise what is not known makes it unknown."""
    if reasons := list(_ills(site)):
        return Health("degraded", reasons)
    parts: dict[str, Reading[Any]] = {"cluster": site.cluster, "champion": site.champion, "alerts": site.alerts}
    if silent := [f"{name} not known" for name, part in parts.items() if part.fault]:
        return Health("unknown", silent)
    return Health("healthy", [])


def _ills(site: Site) -> Iterator[str]:
    if site.cluster.value:
        yield from _cluster(site.cluster.value)
    for alert in site.alerts.value or []:
        yield f"alert {alert.name}"


def _cluster(cluster: Cluster) -> Iterator[str]:
    for node in cluster.nodes:
        if not node.ready:
            yield f"node {node.name} not ready"
        yield from (f"node {node.name}: {pressure}" for pressure in node.pressures)
        for device in node.devices:
            if device.allocatable < device.capacity:
                yield f"node {node.name}: {device.capacity - device.allocatable:g} of {device.name} unhealthy"
    for namespace in cluster.namespaces:
        ill = [one for one in namespace.workloads if not one.well]
        for one in ill:
            yield f"{one.kind} {namespace.name}/{one.name} " + ("failed" if one.failed else "not ready")
        if not ill and namespace.ready < namespace.pods:
            yield f"{namespace.pods - namespace.ready} of {namespace.pods} pods in {namespace.name} not ready"
