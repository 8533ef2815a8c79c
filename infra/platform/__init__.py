"""What a cluster needs before it runs workloads: network, names, priorities and the object store, one file each.

`Platform(name, PlatformArgs(...), opts)`; opts bring the Kubernetes provider of the cluster. The CSI driver takes the
place of storage.py, devices and monitoring get files of their own beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra.artifacts import Index
from infra.environment import Environment
from infra.platform import cluster
from infra.platform.cilium import Cilium
from infra.platform.cluster import Cluster
from infra.platform.coredns import CoreDns
from infra.platform.object_store import ObjectStore, ObjectStoreArgs
from infra.platform.priorities import Priorities

__all__ = ["Platform", "PlatformArgs"]


@dataclass(frozen=True, kw_only=True)
class PlatformArgs:
    """The environment, and what the mirror holds for it."""

    environment: Environment
    index: Index


class Platform(pulumi.ComponentResource):
    """`ready` is done once pods can be started, named, and store objects with `object_store.credentials`."""

    cluster: Cluster
    object_store: ObjectStore
    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Platform", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.cluster = cluster.onprem(args.environment)
        version = args.environment.kubernetes.version
        cilium = Cilium("cilium", cluster=self.cluster, index=args.index, kubernetes_version=version, opts=child)
        # No pod gets an address before the network runs.
        networked = pulumi.ResourceOptions(parent=self, depends_on=cilium.running)
        dns = CoreDns("coredns", cluster=self.cluster, index=args.index, opts=networked)
        priorities = Priorities("priorities", child)
        self.object_store = ObjectStore(
            "object-store",
            ObjectStoreArgs(cluster=self.cluster, settings=args.environment.platform.object_store, index=args.index),
            pulumi.ResourceOptions(parent=self, depends_on=[*cilium.running, priorities]),
        )
        self.ready = [dns.deployment, *self.object_store.ready]
        self.register_outputs({})
