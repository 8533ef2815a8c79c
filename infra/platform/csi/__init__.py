"""Volumes: the storage classes of a site, snapshots of volumes, and in a lab the driver that makes them.

`Csi(name, CsiArgs(...), opts)`. On real hosts their owners run the driver; the environment names it and what it asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra.artifacts import Index
from infra.environment import Storage
from infra.naming import STORAGE_NAMESPACE
from infra.platform import namespaces
from infra.platform.cluster import Cluster
from infra.platform.csi import classes
from infra.platform.csi.lab_driver import LabDriver
from infra.platform.csi.snapshots import Snapshots

__all__ = ["Csi", "CsiArgs"]


@dataclass(frozen=True, kw_only=True)
class CsiArgs:
    """The cluster, where its volumes come from, and the mirror's images."""

    cluster: Cluster
    storage: Storage
    index: Index


class Csi(pulumi.ComponentResource):
    """`ready` is done once claims of the classes are bound, as far as this program runs the driver."""

    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: CsiArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Csi", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        # Privileged, because a driver mounts volumes for other pods, and nothing but drivers is in here.
        namespace = namespaces.trusted(STORAGE_NAMESPACE, opts=child)
        inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        snapshots = Snapshots("snapshots", cluster=args.cluster, index=args.index, opts=inside)
        self.ready = [snapshots.deployment]
        drivers: list[pulumi.Resource] = []
        if args.storage.lab:
            # The snapshotter beside the driver ends when it does not find its kinds of objects.
            after = pulumi.ResourceOptions(parent=self, depends_on=[namespace, *snapshots.definitions])
            driver = LabDriver("lab-csi", cluster=args.cluster, settings=args.storage.lab, index=args.index, opts=after)
            drivers = driver.running
        self.ready += drivers
        wanted = pulumi.ResourceOptions(parent=self, depends_on=[*drivers, *snapshots.definitions])
        self.ready += classes.create(classes.of(args.storage), opts=wanted)
        self.register_outputs({})
