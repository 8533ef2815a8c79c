"""What Kubernetes is to know of nodes, and which of them have accelerators; pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from infra.accelerators import Accelerator

if TYPE_CHECKING:
    from infra.environment import Environment, NodeGroup

GPU_LABEL: Final = {"nvidia.com/gpu.present": "true"}
GPU_TAINT: Final = "nvidia.com/gpu=present:NoSchedule"


def labels(group: NodeGroup) -> dict[str, str]:
    """Labels of the group's nodes."""
    gpu = GPU_LABEL if group.accelerator == "nvidia" else {}
    return {"isthmus/node-group": group.name, **gpu, **group.labels}


def taints(group: NodeGroup) -> list[str]:
    """Taints of the group's nodes, like gpu=true:NoSchedule."""
    gpu = [GPU_TAINT] if group.accelerator == "nvidia" else []
    return [*gpu, *group.taints]


Site = Literal["onprem", "cloud"]
SITES: Final[tuple[Site, ...]] = ("onprem", "cloud")


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """A host that runs pods, or a group of nodes; `key` is where the environment file has it."""

    site: Site
    key: str
    labels: dict[str, str]
    taints: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An accelerator on one site. `taints` are those of its nodes: what runs there has to tolerate them."""

    accelerator: Accelerator
    taints: tuple[str, ...]


def of(environment: Environment) -> Iterator[Nodes]:
    """All nodes that run pods. A group counts also while it has none: it may grow."""
    for at, host in enumerate(environment.onprem.hosts):
        if "worker" in host.roles:
            yield Nodes(site="onprem", key=f"onprem.hosts[{at}]", labels=host.labels, taints=host.taints)
    if environment.cloud:
        for at, group in enumerate(environment.cloud.node_groups):
            key = f"cloud.node_groups[{at}]"
            yield Nodes(site="cloud", key=key, labels=labels(group), taints=tuple(taints(group)))


def offers(environment: Environment, site: Site) -> tuple[Offer, ...]:
    """The accelerators that nodes of the site have."""
    found = []
    for accelerator in environment.platform.accelerators:
        having = [one for one in of(environment) if one.site == site and accelerator.selects(one.labels)]
        if having:
            kept_away = sorted({taint for one in having for taint in one.taints})
            found.append(Offer(accelerator=accelerator, taints=tuple(kept_away)))
    return tuple(found)


def nvidia_hosts(environment: Environment) -> tuple[str, ...]:
    """The on-prem hosts that need NVIDIA's driver; nodes at Amazon start with it."""
    wanted = [one for one in environment.platform.accelerators if one.plugin == "nvidia"]
    workers = environment.onprem.having("worker")
    return tuple(host.name for host in workers if any(one.selects(host.labels) for one in wanted))
