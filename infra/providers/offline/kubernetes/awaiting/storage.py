"""Volumes and claims."""

from __future__ import annotations

from infra.providers.offline.kubernetes.awaiting import pods
from infra.providers.offline.kubernetes.awaiting.verdict import READY, Awaiter, Object, Verdict
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.kubernetes.kinds import TABLE
from infra.providers.offline.values import at

_CLASS = TABLE["kubernetes:storage.k8s.io/v1:StorageClass"]
_IS_DEFAULT = "storageclass.kubernetes.io/is-default-class"


def _volume(_cluster: Cluster, obj: Object) -> Verdict:
    phase = at(obj, "status", "phase")
    return READY if phase in ("Available", "Bound") else Verdict(f"the volume is {phase or 'not seen yet'}")


def _claim(cluster: Cluster, obj: Object) -> Verdict:
    phase = at(obj, "status", "phase")
    if phase == "Bound":
        return READY
    if phase == "Lost":
        return Verdict("the volume of this claim is lost", hopeless=True)
    # Such a claim is bound when its first pod is scheduled, so waiting here would be waiting for ever.
    return READY if _binds_with_pod(cluster, obj) else Verdict("not bound to a volume yet")


def _binds_with_pod(cluster: Cluster, obj: Object) -> bool:
    name = at(obj, "spec", "storageClassName")
    if name == "":
        return False
    if name is None:
        classes = cluster.find(_CLASS, None)
        chosen = [entry for entry in classes if at(entry, "metadata", "annotations", _IS_DEFAULT) == "true"]
    else:
        found = cluster.get(_CLASS, None, name)
        chosen = [found] if found else []
    return any(entry.get("volumeBindingMode") == "WaitForFirstConsumer" for entry in chosen)


VOLUME = Awaiter(check=_volume, seconds=300)
CLAIM = Awaiter(check=_claim, explain=pods.events, seconds=300)
