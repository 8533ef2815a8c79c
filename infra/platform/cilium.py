"""Cilium: pod network, Services without kube-proxy, and network policy; from the pinned chart, object by object."""

from __future__ import annotations

from typing import Any, Final

import pulumi

from infra.artifacts import Index
from infra.platform import chart, cilium_values, manifests, pods
from infra.platform.cluster import Cluster

NAMESPACE = "kube-system"

API_HOST: Final = "api.isthmus.invalid"
"""Stands for the API's host while the chart is rendered, where AWS says it only when the cluster is made."""


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
            cluster.api_host if isinstance(cluster.api_host, str) else API_HOST,
            agent_image=pods.image(index.artifact("cilium")),
            operator_image=pods.image(index.artifact("cilium-operator")),
        ),
    )


def told(value: Any, host: pulumi.Input[str]) -> Any:
    """The value with the host wherever API_HOST stands for it."""
    if isinstance(value, dict):
        return {key: told(entry, host) for key, entry in value.items()}
    if isinstance(value, list):
        return [told(entry, host) for entry in value]
    if isinstance(value, str) and API_HOST in value:
        return pulumi.Output.from_input(host).apply(lambda known: value.replace(API_HOST, known))
    return value


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
        made = [told(one, cluster.api_host) for one in objects(cluster, index, kubernetes_version)]
        self.running = manifests.create(made, opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({})
