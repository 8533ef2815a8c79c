"""What a cluster needs before it runs workloads: network, names, metrics, devices, volumes, stores, a watch, a page.

`Platform(name, PlatformArgs(...), opts)`; opts bring the Kubernetes provider of the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from infra.artifacts import Index
from infra.environment import Monitoring as MonitoringSettings
from infra.environment import ObjectStore as Settings
from infra.environment import Storage
from infra.nodes import Offer
from infra.platform import mesh, namespaces, policies
from infra.platform.cilium import Cilium
from infra.platform.cluster import Cluster
from infra.platform.coredns import CoreDns
from infra.platform.credentials import Keys
from infra.platform.csi import Csi, CsiArgs
from infra.platform.device_plugins import DevicePlugins, DevicePluginsArgs
from infra.platform.metrics_server import MetricsServer
from infra.platform.monitoring import READER, Monitoring, MonitoringArgs, Sender, ViewOver
from infra.platform.object_store import ObjectStore, ObjectStoreArgs
from infra.platform.priorities import Priorities
from infra.platform.status import VIEWER, Shown, Status
from infra.resources import Authority

__all__ = ["Platform", "PlatformArgs", "Provided", "Shown"]


@dataclass(frozen=True, kw_only=True)
class Provided:
    """That somebody else runs the cluster's names, metrics and drivers of volumes, as EKS add-ons do."""

    ready: Sequence[pulumi.Resource]
    """Done once names are answered and claims of the storage classes are bound."""


@dataclass(frozen=True, kw_only=True)
class PlatformArgs:
    """`object_store`: its settings where the site has one of its own, which `keys` open; None where it uses another's.

    `storage`: where volumes come from; None where there are none. `monitoring`: None where nobody watches the site.
    `provided`: what is there already, volumes among it; None where this makes all.
    """

    cluster: Cluster
    kubernetes_version: str
    storage: Storage | None
    object_store: Settings | None
    index: Index
    provided: Provided | None = None
    published: bool = False
    """Whether the object store can be reached from the site at the other end of the link."""
    keys: Keys | None = None
    """What opens its bucket of models."""
    backups_keys: Keys | None = None
    """What opens its bucket for hosts' backups, on their way to the other site; None where there is none."""
    accelerators: tuple[Offer, ...] = ()
    """Those that nodes of the site have."""
    monitoring: MonitoringSettings | None = None
    status: Shown | None = None
    """What the status page shows; None where there is none. It needs monitoring."""
    alert_secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """The secrets of those who are told of alerts, by their names."""
    model_age_days: int | None = None
    """How old a served model may be before monitoring tells; None where nobody minds."""
    for_autoscalers: bool = False
    """Whether they go by what Prometheus has read; it needs monitoring."""
    mesh_authority: Authority | None = None
    """Of both sites' certificates, where the cluster is in a mesh."""
    over: ViewOver | None = None
    """The view over both sites, where it is here."""
    sender: Sender | None = None
    """On the other site, how its Prometheus reaches the view."""


class Platform(pulumi.ComponentResource):
    """`ready` is done once pods can be started, named, and store objects if it has a store.

    `metrics_readers` are the pods that may read the metrics of others, `viewers` those that may ask what is served.
    `entrance` is where the other site's agents ask, in a cluster of a mesh.
    """

    cluster: Cluster
    accelerators: tuple[Offer, ...]
    metrics_readers: tuple[policies.Peer, ...]
    viewers: tuple[policies.Peer, ...]
    entrance: mesh.Entrance | None
    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: PlatformArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Platform", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.cluster, self.accelerators = args.cluster, args.accelerators
        self.metrics_readers = (READER,) if args.monitoring else ()
        self.viewers = (VIEWER,) if args.status else ()
        self.entrance, certificates = None, None
        if self.cluster.mesh:
            assert args.mesh_authority is not None
            certificates = mesh.Certificates(
                "mesh-certificates", cluster=self.cluster, authority=args.mesh_authority, opts=child
            )
            self.entrance = mesh.Entrance("mesh-entrance", cluster=self.cluster, opts=child)
        cilium = Cilium(
            "cilium",
            cluster=self.cluster,
            index=args.index,
            kubernetes_version=args.kubernetes_version,
            certificates=certificates,
            opts=child,
        )
        # No pod gets an address before the network runs.
        networked = pulumi.ResourceOptions(parent=self, depends_on=cilium.running)
        priorities = Priorities("priorities", child)
        namespaces.close_kubernetes_own(child)
        if args.provided:
            self.ready = [*args.provided.ready, priorities]
        else:
            alerts = args.monitoring.alerts if args.monitoring else None
            dns = CoreDns(
                "coredns",
                cluster=self.cluster,
                index=args.index,
                alerts=alerts,
                metrics_readers=self.metrics_readers,
                opts=networked,
            )
            # Before the network, for it uses the hosts': it is ready half a minute after it has begun to read kubelets.
            MetricsServer("metrics-server", cluster=self.cluster, index=args.index, opts=child)
            self.ready = [dns.deployment, priorities]
        if self.accelerators:
            plugins = DevicePluginsArgs(cluster=self.cluster, offers=self.accelerators, index=args.index)
            DevicePlugins("device-plugins", plugins, networked)
        if args.storage:
            csi = Csi(
                "csi",
                CsiArgs(cluster=self.cluster, storage=args.storage, index=args.index),
                pulumi.ResourceOptions(parent=self, depends_on=[*cilium.running, priorities]),
            )
            self.ready += csi.ready
        if args.monitoring:
            watching = MonitoringArgs(
                cluster=self.cluster,
                settings=args.monitoring,
                persistent=bool(args.storage or args.provided),
                index=args.index,
                alert_readers=self.viewers,
                alert_secrets=args.alert_secrets,
                model_age_days=args.model_age_days,
                for_autoscalers=args.for_autoscalers,
                over=args.over,
                sender=args.sender,
                late_volumes=bool(args.storage and args.storage.site),
            )
            # After what its volumes come from.
            after = pulumi.ResourceOptions(parent=self, depends_on=[*cilium.running, *self.ready])
            Monitoring("monitoring", watching, after)
        if args.status:
            after = pulumi.ResourceOptions(parent=self, depends_on=[*cilium.running, priorities])
            Status("status", cluster=self.cluster, shown=args.status, index=args.index, opts=after)
        if args.object_store:
            assert args.keys is not None
            store = ObjectStore(
                "object-store",
                ObjectStoreArgs(
                    cluster=self.cluster,
                    settings=args.object_store,
                    index=args.index,
                    published=args.published,
                    keys=args.keys,
                    backups_keys=args.backups_keys,
                    metrics_readers=self.metrics_readers,
                ),
                pulumi.ResourceOptions(parent=self, depends_on=[*cilium.running, priorities]),
            )
            self.ready += store.ready
        self.register_outputs({})
