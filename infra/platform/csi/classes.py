"""Storage classes and snapshot classes: two kinds of volumes, under the same names on every site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi
from pulumi_kubernetes import storage

from infra.environment import Storage, Volumes
from infra.naming import SHARED_CLASS, STORAGE_CLASS
from infra.platform import manifests, pods

DEFAULT: Final = "storageclass.kubernetes.io/is-default-class"
DEFAULT_SNAPSHOT: Final = "snapshot.storage.kubernetes.io/is-default-class"
LAB_DRIVER: Final = "lab.csi.isthmus.dev"

_BINDS: Final = {"immediately": "Immediate", "with_pod": "WaitForFirstConsumer"}


@dataclass(frozen=True, kw_only=True)
class Class:
    """A storage class, and the snapshot class of that name if its driver makes snapshots."""

    name: str
    provisioner: str
    binds: str
    """A key of _BINDS."""
    snapshots: bool
    expands: bool = True
    parameters: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    snapshot_parameters: Mapping[str, str] = field(default_factory=dict)


def of(storage: Storage) -> tuple[Class, ...]:
    """The classes of a site of hosts. A lab's volume serves one host or many, so there both have one driver."""
    if storage.site:
        first = _named(STORAGE_CLASS, storage.site.default)
        return (first, _named(SHARED_CLASS, storage.site.shared)) if storage.site.shared else (first,)
    # Every machine of a lab sees every volume, so none has to wait for its pod.
    return tuple(
        Class(name=name, provisioner=LAB_DRIVER, binds="immediately", snapshots=True)
        for name in (STORAGE_CLASS, SHARED_CLASS)
    )


def of_eks(key: pulumi.Input[str], file_system: pulumi.Input[str] | None) -> tuple[Class, ...]:
    """EBS volumes: in the zone of the first pod, and encrypted with the cloud half's own key for data.

    With a file system of EFS also folders of it, in every zone; it has no quotas, so there is nothing to expand.
    """
    disk = Class(
        name=STORAGE_CLASS,
        provisioner="ebs.csi.aws.com",
        binds="with_pod",
        snapshots=False,
        parameters={"type": "gp3", "encrypted": "true", "kmsKeyId": key},
    )
    if file_system is None:
        return (disk,)
    folder = Class(
        name=SHARED_CLASS,
        provisioner="efs.csi.aws.com",
        binds="immediately",
        snapshots=False,
        expands=False,
        parameters={"provisioningMode": "efs-ap", "fileSystemId": file_system, "directoryPerms": "700"},
    )
    return disk, folder


def _named(name: str, volumes: Volumes) -> Class:
    return Class(name=name, **volumes.model_dump())


def create(classes: tuple[Class, ...], *, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """The classes as objects. A volume goes with its claim: what must outlive that is in snapshots and backups."""
    made: list[pulumi.Resource] = [
        storage.v1.StorageClass(
            one.name,
            metadata=pods.metadata(one.name, annotations={DEFAULT: "true"} if one.name == STORAGE_CLASS else None),
            provisioner=one.provisioner,
            parameters=one.parameters or None,
            reclaim_policy="Delete",
            allow_volume_expansion=one.expands,
            volume_binding_mode=_BINDS[one.binds],
            opts=opts,
        )
        for one in classes
    ]
    # One driver may have one snapshot class that is its default.
    seen: set[str] = set()
    for one in classes:
        if one.snapshots:
            made += manifests.create([_snapshot_class(one, one.provisioner not in seen)], opts=opts)
            seen.add(one.provisioner)
    return made


def _snapshot_class(one: Class, default: bool) -> dict[str, Any]:
    body = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotClass",
        "metadata": pods.metadata(one.name, annotations={DEFAULT_SNAPSHOT: "true"} if default else None),
        "driver": one.provisioner,
        "deletionPolicy": "Delete",
    }
    return body | ({"parameters": dict(one.snapshot_parameters)} if one.snapshot_parameters else {})
