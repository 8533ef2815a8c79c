"""What a cluster needs before it runs workloads: network, names, priorities and the object store, one file each.

`Platform(name, PlatformArgs(...), opts)`; opts bring the Kubernetes provider of the cluster. The CSI driver takes the
place of storage.py, devices and monitoring get files of their own beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra.artifacts import Index
from infra.environment import ObjectStore as Settings
from infra.platform.cilium import Cilium
from infra.platform.cluster import Cluster
from infra.platform.coredns import CoreDns
from infra.platform.object_store import ObjectStore, ObjectStoreArgs
from infra.platform.priorities import Priorities

__all__ = ["Platform", "PlatformArgs"]


@dataclass(frozen=True, kw_only=True)
class PlatformArgs:
    """`object_store`: its settings where the site has one of its own; None where it uses another's."""

    cluster: Cluster
    kubernetes_version: str
    object_store: Settings | None
    index: Index
    published: bool = False
    """Whether the object store can be reached from the site at the other end of the link."""


class Platform(pulumi.ComponentResource):
    """`ready` is done once pods can be started, named, and store objects in `object_store` if there is one."""

    cluster: Cluster
    object_store: ObjectStore | None
    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Platform", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.cluster = args.cluster
        cilium = Cilium(
            "cilium",
            cluster=self.cluster,
            index=args.index,
            kubernetes_version=args.kubernetes_version,
            opts=child,
        )
        # No pod gets an address before the network runs.
        networked = pulumi.ResourceOptions(parent=self, depends_on=cilium.running)
        dns = CoreDns("coredns", cluster=self.cluster, index=args.index, opts=networked)
        priorities = Priorities("priorities", child)
        self.ready = [dns.deployment, priorities]
        self.object_store = None
        if args.object_store:
            self.object_store = ObjectStore(
                "object-store",
                ObjectStoreArgs(
                    cluster=self.cluster, settings=args.object_store, index=args.index, published=args.published
                ),
                pulumi.ResourceOptions(parent=self, depends_on=[*cilium.running, priorities]),
            )
            self.ready += self.object_store.ready
        self.register_outputs({})
