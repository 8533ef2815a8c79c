"""What differs between old and new inputs, and which differences Kubernetes only takes as a new object.

Pure, and without the cluster: a program that changed nothing is known to have changed nothing without one request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from infra.providers.offline.differences import walk
from infra.providers.offline.kubernetes import naming
from infra.providers.offline.kubernetes.kinds import Kind
from infra.providers.offline.values import Path, at

_VOLUME_SOURCES = (
    *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker"),
    *("gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk", "portworxVolume"),
    *("quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume"),
)

_REPLACE: dict[str, tuple[str, ...]] = {
    "v1/ConfigMap": ("data", "binaryData"),
    "v1/Secret": ("data", "stringData", "type"),
    "v1/Service": ("spec.clusterIP",),
    "v1/Pod": ("spec",),
    "v1/ResourceQuota": ("spec.scopes",),
    "v1/PersistentVolume": tuple(f"spec.{source}" for source in _VOLUME_SOURCES),
    "v1/PersistentVolumeClaim": ("spec",),
    "apps/v1/Deployment": ("spec.selector",),
    "apps/v1/DaemonSet": ("spec.selector",),
    "apps/v1/StatefulSet": (
        *("spec.podManagementPolicy", "spec.revisionHistoryLimit", "spec.selector"),
        *("spec.serviceName", "spec.volumeClaimTemplates"),
    ),
    "batch/v1/Job": (
        *("spec.completions", "spec.completionMode", "spec.parallelism", "spec.podFailurePolicy"),
        *("spec.selector", "spec.template"),
    ),
    "rbac.authorization.k8s.io/v1/RoleBinding": ("roleRef",),
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding": ("roleRef",),
    "storage.k8s.io/v1/StorageClass": ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"),
    "scheduling.k8s.io/v1/PriorityClass": ("value", "preemptionPolicy"),
    "node.k8s.io/v1/RuntimeClass": ("handler",),
}
"""Fields that cannot change in place; of ConfigMaps and Secrets by the official plugin's choice, not Kubernetes'."""

# A claim may grow, and a pod take some changes, where the whole of the rest is fixed.
_IN_PLACE: dict[str, tuple[str, ...]] = {
    "v1/PersistentVolumeClaim": ("spec.resources", "spec.volumeAttributesClassName"),
    "v1/Pod": ("spec.activeDeadlineSeconds", "spec.tolerations", "spec.schedulingGates"),
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One value that differs."""

    path: Path
    kind: Literal["add", "delete", "update"]
    replace: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that differs, and what it means."""

    differences: tuple[Difference, ...]
    delete_first: bool
    """Whether the replacement has the old object's name, so that the old one must go first."""

    @property
    def replaces(self) -> list[Path]:
        """The differences that need a new object."""
        return [difference.path for difference in self.differences if difference.replace]


def plan(
    kind: Kind,
    olds: dict[str, Any],
    news: dict[str, Any],
    state: dict[str, Any],
    *,
    mutable: frozenset[str] = frozenset(),
) -> Plan:
    """Compares inputs. `state` is the last known object; `mutable` names kinds whose data may change in place."""
    differences = tuple(
        Difference(path=path, kind=how, replace=_replaces(kind, path, olds, mutable)) for path, how in walk(olds, news)
    )
    if naming.flag(news, naming.REPLACE_UNREADY) and kind.name == "Job" and _failed(state):
        unready = Difference(path=("metadata", "annotations", naming.REPLACE_UNREADY), kind="update", replace=True)
        differences = (*differences, unready)
    same_place = all(at(olds, "metadata", key) == at(news, "metadata", key) for key in ("name", "namespace"))
    replaced = any(difference.replace for difference in differences)
    return Plan(
        differences=differences,
        delete_first=replaced and same_place and not naming.flag(news, naming.AUTONAMED),
    )


def _failed(state: dict[str, Any]) -> bool:
    conditions = at(state, "status", "conditions") or []
    return any(condition.get("type") == "Failed" and condition.get("status") == "True" for condition in conditions)


def _replaces(kind: Kind, path: Path, olds: dict[str, Any], mutable: frozenset[str]) -> bool:
    names = tuple(str(part) for part in path)
    if names in (("metadata", "name"), ("metadata", "namespace"), ("kind",)):
        return True
    if str(kind) in _IN_PLACE and _within(names, _IN_PLACE[str(kind)]):
        return False
    if kind.name in mutable and kind.group == "" and olds.get("immutable") is not True:
        return _within(names, ("type",))
    return _within(names, _REPLACE.get(str(kind), ()))


def _within(names: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    return any(names[: len(parts)] == parts for parts in (tuple(pattern.split(".")) for pattern in patterns))
