"""Cilium: pod network, Services without kube-proxy, and network policy; from the pinned chart, object by object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi

from infra.artifacts import Index
from infra.naming import MESH_IMAGE
from infra.platform import chart, cilium_values, manifests, mesh, mesh_values, pods
from infra.platform.cluster import Cluster

NAMESPACE = "kube-system"

API_HOST: Final = "api.isthmus.invalid"
"""Stands for the API's host while the chart is rendered, where AWS says it only when the cluster is made."""

CERTIFICATE: Final = "certificate.isthmus.invalid"
"""Stands for the mark of the mesh's certificate in the same way."""

MESHED: Final = manifests.logical_name(
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": NAMESPACE, "name": mesh.APP}}
)
"""The Deployment that no pod waits for: the other site's agents alone ask it."""


UNUSED: Final = ("hubble-peer", "hubble-metrics", "cilium-agent")
"""Services of the chart's: of a server that is off, and of metrics that Prometheus finds by the agents' pods."""


def objects(cluster: Cluster, index: Index, kubernetes_version: str) -> list[chart.Manifest]:
    """Every object of Cilium that has a use."""
    return [one for one in _rendered(cluster, index, kubernetes_version) if not unused(one)]


def unused(manifest: chart.Manifest) -> bool:
    """Whether it is one of those Services."""
    return manifest["kind"] == "Service" and manifest["metadata"]["name"] in UNUSED


def _rendered(cluster: Cluster, index: Index, kubernetes_version: str) -> list[chart.Manifest]:
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
            mesh=_mesh_values(cluster, index) if cluster.mesh else None,
        ),
    )


def _mesh_values(cluster: Cluster, index: Index) -> dict[str, Any]:
    return mesh_values.values(pods.image(index.artifact(MESH_IMAGE)), CERTIFICATE, cluster)


def told(value: Any, later: Mapping[str, pulumi.Input[str]]) -> Any:
    """The value with what is known later wherever a word stands for it: word -> what it stands for."""
    if isinstance(value, dict):
        return {key: told(entry, later) for key, entry in value.items()}
    if isinstance(value, list):
        return [told(entry, later) for entry in value]
    for word, known in later.items():
        if isinstance(value, str) and word in value:
            return pulumi.Output.all(value, word, known).apply(lambda parts: parts[0].replace(parts[1], parts[2]))
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
        certificates: mesh.Certificates | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`certificates`: the mesh's, in a cluster that has one."""
        super().__init__("isthmus:platform:Cilium", name, None, opts)
        later: dict[str, pulumi.Input[str]] = {API_HOST: cluster.api_host}
        secrets: Sequence[pulumi.Resource] = ()
        if certificates:
            # First, because a volume whose Secret comes later takes a minute or two to show it.
            later[CERTIFICATE], secrets = certificates.mark, certificates.secrets
        made = [told(one, later) for one in objects(cluster, index, kubernetes_version)]
        child = pulumi.ResourceOptions(parent=self, depends_on=list(secrets))
        started = manifests.create(made, opts=child)
        self.running = [one for one in started if one.pulumi_resource_name != MESHED]
        self.register_outputs({})
