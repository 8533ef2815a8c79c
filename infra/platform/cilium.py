"""Cilium: pod network, Services without kube-proxy, and network policy; from the pinned chart, object by object."""

from __future__ import annotations

import pulumi

from infra.artifacts import Index
from infra.platform import chart, cilium_values, manifests, pods
from infra.platform.cluster import Cluster

NAMESPACE = "kube-system"


def objects(cluster: Cluster, index: Index, kubernetes_version: str) -> list[chart.Manifest]:
    """Every object of Cilium."""
    return chart.render(
        index.artifact("cilium-chart"),
        index.artifact("helm"),
        release="cilium",
        namespace=NAMESPACE,
        kubernetes_version=kubernetes_version,
        values=cilium_values.values(
            cluster,
            agent_image=pods.image(index.artifact("cilium")),
            operator_image=pods.image(index.artifact("cilium-operator")),
        ),
    )


class Cilium(pulumi.ComponentResource):
    """The cluster's network; `running` are the resources that are awaited until they work."""

    running: list[pulumi.Resource]

    def __init__(
        self,
        name: str,
        *,
        cluster: Cluster,
        index: Index,
        kubernetes_version: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("isthmus:platform:Cilium", name, None, opts)
        self.running = manifests.create(
            objects(cluster, index, kubernetes_version), opts=pulumi.ResourceOptions(parent=self)
        )
        self.register_outputs({})
