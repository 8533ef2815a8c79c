"""When an object is ready, kind by kind, and why it is not."""

from __future__ import annotations

from infra.providers.offline.kubernetes.awaiting import basics, jobs, services, storage, workloads
from infra.providers.offline.kubernetes.awaiting.verdict import Awaiter
from infra.providers.offline.kubernetes.kinds import Kind

_AWAITERS: dict[str, Awaiter] = {
    "apps/v1/Deployment": workloads.DEPLOYMENT,
    "apps/v1/DaemonSet": workloads.DAEMON_SET,
    "apps/v1/StatefulSet": workloads.STATEFUL_SET,
    "batch/v1/Job": jobs.JOB,
    "v1/Namespace": basics.NAMESPACE,
    "v1/Pod": basics.POD,
    "v1/Service": services.SERVICE,
    "v1/PersistentVolume": storage.VOLUME,
    "v1/PersistentVolumeClaim": storage.CLAIM,
    "apiextensions.k8s.io/v1/CustomResourceDefinition": basics.DEFINITION,
    "apiregistration.k8s.io/v1/APIService": basics.API_SERVICE,
}


def of(kind: Kind) -> Awaiter | None:
    """How a kind is awaited; None for one that is ready as soon as it exists."""
    return _AWAITERS.get(str(kind))
