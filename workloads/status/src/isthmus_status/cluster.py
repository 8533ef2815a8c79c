"""What the lists of Kubernetes' API say of a cluster; pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from isthmus_status import kubernetes
from isthmus_status.kubernetes import holds
from isthmus_status.models import Amount, Cluster, Device, Namespace, Node, Workload

ROLE = "node-role.kubernetes.io/"
ZONE = "topology.kubernetes.io/zone"
ENDED = ("Succeeded", "Failed")

Amounts = dict[str, float]
"""Resource -> how much of it."""


def cluster(
    nodes: list[kubernetes.Node],
    pods: list[kubernetes.Pod],
    workloads: dict[str, list[kubernetes.Workload]],
    claimed: Mapping[str, list[Device]],
) -> Cluster:
    """The cluster; `workloads` are lists by kind, `claimed` each node's devices that pods get by claims."""
    running = [pod for pod in pods if pod.status.phase not in ENDED]
    taken: dict[str, Amounts] = {}
    for pod in running:
        taken[pod.spec.node_name] = _sum(taken.get(pod.spec.node_name, {}), requests(pod.spec))
    found = (_node(one, taken.get(one.metadata.name, {}), claimed.get(one.metadata.name, [])) for one in nodes)
    return Cluster(nodes=sorted(found, key=lambda one: one.name), namespaces=_namespaces(running, workloads))


def requests(spec: kubernetes.PodSpec) -> Amounts:
    """What the scheduler counts for a pod.

    That is its containers and sidecars together, or more where a container that runs before them asks for more; what is
    asked for the pod as a whole instead; and its overhead.
    """
    sidecars: Amounts = {}
    first: Amounts = {}
    for one in spec.init_containers:
        if one.restart_policy == "Always":
            sidecars = _sum(sidecars, one.resources.requests)
        else:
            first = _most(first, _sum(sidecars, one.resources.requests))
    together = _sum(sidecars, *(one.resources.requests for one in spec.containers))
    return _sum(_most(together, first) | spec.resources.requests, spec.overhead)


def _sum(*parts: Amounts) -> Amounts:
    return {key: sum(part.get(key, 0) for part in parts) for part in parts for key in part}


def _most(one: Amounts, other: Amounts) -> Amounts:
    return {key: max(one.get(key, 0), other.get(key, 0)) for key in one | other}


def _node(node: kubernetes.Node, taken: Amounts, claimed: list[Device]) -> Node:
    labels, status = node.metadata.labels, node.status
    roles = sorted(label.removeprefix(ROLE) for label in labels if label.startswith(ROLE))
    kept_away = {taint.key for taint in node.spec.taints if taint.effect != "PreferNoSchedule"}
    if not any(f"{ROLE}{role}" in kept_away for role in roles):
        roles.append("worker")

    def amount(resource: str) -> Amount:
        return Amount(allocatable=status.allocatable.get(resource, 0), requested=taken.get(resource, 0))

    return Node(
        name=node.metadata.name,
        roles=roles,
        zone=labels.get(ZONE, ""),
        version=status.node_info.kubelet_version,
        ready=holds(status.conditions, "Ready"),
        schedulable=not node.spec.unschedulable,
        pressures=[one.type for one in status.conditions if one.type != "Ready" and one.status == "True"],
        cpu=amount("cpu"),
        memory=amount("memory"),
        devices=[
            *(
                Device(name=name, capacity=capacity, **amount(name).model_dump())
                for name, capacity in sorted(status.capacity.items())
                # A name with a domain that is not Kubernetes' own is an extended resource.
                if "/" in name and not name.partition("/")[0].endswith("kubernetes.io")
            ),
            *claimed,
        ],
    )


def _namespaces(pods: list[kubernetes.Pod], workloads: dict[str, list[kubernetes.Workload]]) -> list[Namespace]:
    total = Counter(pod.metadata.namespace for pod in pods)
    ready = Counter(pod.metadata.namespace for pod in pods if holds(pod.status.conditions, "Ready"))
    found: dict[str, list[Workload]] = {name: [] for name in total}
    for kind, ones in workloads.items():
        for one in ones:
            found.setdefault(one.metadata.namespace, []).append(_workload(kind, one))
    return [
        Namespace(name=name, pods=total[name], ready=ready[name], workloads=_sorted(ones))
        for name, ones in sorted(found.items())
    ]


def _sorted(workloads: Iterable[Workload]) -> list[Workload]:
    return sorted(workloads, key=lambda one: (one.kind == "Job", one.name))


def _workload(kind: str, one: kubernetes.Workload) -> Workload:
    status, failed = one.status, False
    match kind:
        case "Job":
            ready, wanted = status.succeeded, one.spec.completions or 1
            failed = holds(status.conditions, "Failed")
        case "DaemonSet":
            ready, wanted = status.number_ready, status.desired_number_scheduled
        case _:
            ready, wanted = status.ready_replicas, one.spec.replicas
    return Workload(kind=kind, name=one.metadata.name, ready=ready, wanted=wanted, failed=failed)
