"""What volumes of a lab cost: the start of a pod that has one, and the speed of what is in it."""

from __future__ import annotations

from infra.environment import Environment
from infra.naming import STORAGE_CLASS
from ops import cluster
from ops.bench import namespace, volume_speed, volume_start
from ops.bench.objects import Object
from ops.console import Failure
from ops.up import load


def measure(environment: str) -> dict[str, float]:
    """Figures of both, in a namespace that is gone afterwards."""
    settings = load(environment)
    check(settings)
    classes = [one["metadata"]["name"] for one in cluster.items(environment, "storageclasses")]
    if STORAGE_CLASS not in classes:
        raise Failure(f"{environment} has no storage class {STORAGE_CLASS} yet", fix=f"make up ENV={environment}")
    node = worker(settings, [one["metadata"]["name"] for one in cluster.items(environment, "nodes") if fit(one)])
    with namespace.made(environment, node) as space:
        return {**volume_start.measure(space), **volume_speed.measure(space)}


def check(settings: Environment) -> None:
    """Refuses what cannot be measured, before anything is asked of the cluster."""
    file = f"environments/{settings.name}.yaml"
    if settings.platform.storage is None:
        raise Failure(f"{settings.name} has no volumes", fix=f"set platform.storage in {file}, then make up")
    if settings.platform.storage.lab is None:
        raise Failure(
            f"the volumes of {settings.name} are another driver's; only a lab's lie in a folder to compare them with",
            fix="run it on a lab: make bench ARGS=volumes ENV=local",
        )


def fit(node: Object) -> bool:
    """Whether a node takes pods now."""
    return cluster.ready(node) and not node["spec"].get("unschedulable")


def worker(settings: Environment, fit_nodes: list[str]) -> str:
    """The first host that runs workloads and takes pods now."""
    for host in settings.onprem.workers():
        if host.name in fit_nodes:
            return host.name
    raise Failure(f"no host of {settings.name} takes pods", fix="make status")
