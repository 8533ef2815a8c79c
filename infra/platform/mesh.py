"""ClusterMesh: what the other site's agents are told of this cluster, by whom, and whom to ask there.

Each cluster tells of its own pods and Services by an etcd of its own (Cilium's chart makes its Deployment); the other's
agents watch it through the link. Without the other site, or the link, an agent goes on with what its own cluster has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pulumi
from pulumi_kubernetes import core

from infra import naming
from infra.platform import mesh_values, pods, policies, published
from infra.platform.cluster import Cluster
from infra.resources import Authority, Certificate

APP: Final = mesh_values.APP
NAMESPACE: Final = "kube-system"
PORT: Final = 2379
PEERS: Final = "cilium-clustermesh"
"""The Secret that agents read at any time: a file for each other cluster, by its name."""
FILES: Final = "/var/lib/cilium/clustermesh/common-etcd-client"
"""Where agents have their certificate for the other cluster, less the rest of the names."""


class Certificates(pulumi.ComponentResource):
    """The certificates of one cluster's mesh. `mark` changes with those that are read only when a program starts."""

    secrets: list[pulumi.Resource]
    mark: pulumi.Output[str]

    def __init__(
        self, name: str, *, cluster: Cluster, authority: Authority, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("isthmus:platform:MeshCertificates", name, None, opts)
        assert cluster.mesh is not None
        child = pulumi.ResourceOptions(parent=self)
        made = {
            # The API server beside etcd asks it over loopback.
            "server": Certificate(
                f"{APP}-server",
                names=[f"{APP}.{NAMESPACE}.svc", *cluster.mesh.names],
                addresses=["127.0.0.1", *(str(address) for address in cluster.mesh.addresses)],
                authority=authority,
                opts=child,
            ),
            # Subjects are the users that etcd knows: who writes here, and who reads there.
            "admin": Certificate(f"{APP}-admin", names=[f"admin-{cluster.name}"], authority=authority, opts=child),
            "remote": Certificate(f"{APP}-remote", names=["remote"], authority=authority, opts=child),
        }
        self.secrets = [
            core.v1.Secret(
                f"{APP}-{who}-cert",
                metadata=pods.metadata(APP, name=f"{APP}-{who}-cert", namespace=NAMESPACE),
                type="kubernetes.io/tls",
                string_data={
                    "ca.crt": authority.certificate,
                    "tls.crt": one.certificate,
                    "tls.key": one.private_key,
                },
                opts=child,
            )
            for who, one in made.items()
        ]
        self.mark = pods.fingerprint(authority.certificate, made["server"].certificate, made["admin"].certificate)
        self.register_outputs({})


class Entrance(pulumi.ComponentResource):
    """Where the other site's agents ask: through the load balancers of the site, or of Amazon."""

    service: core.v1.Service

    def __init__(self, name: str, *, cluster: Cluster, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:MeshEntrance", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        spec = published.spec(
            APP, {"name": "etcd", "port": PORT, "node_port": naming.MESH.node_port}, cluster, any_host=True
        )
        self.service = core.v1.Service(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE, annotations=published.balanced(cluster)),
            spec=spec,
            opts=child,
        )
        policies.allow(
            APP,
            NAMESPACE,
            ingress=[
                {"from_": [policies.network(cidr) for cidr in cluster.senders], "ports": policies.ports(PORT)},
            ],
            egress=[policies.to_api(cluster)],
            opts=child,
        )
        self.register_outputs({})


def introduce(
    cluster: Cluster, *, host: pulumi.Input[str], port: int, authority: Authority, opts: pulumi.ResourceOptions
) -> core.v1.Secret:
    """Tells the agents of the cluster where the other one's entrance is. Nothing in the cluster waits for it."""
    assert cluster.mesh is not None
    return core.v1.Secret(
        PEERS,
        metadata=pods.metadata(APP, name=PEERS, namespace=NAMESPACE),
        string_data={cluster.mesh.peer: _etcd(host, port, authority)},
        opts=opts,
    )


def _etcd(host: pulumi.Input[str], port: int, authority: Authority) -> pulumi.Output[str]:
    """The configuration of a client of etcd, in YAML."""
    # Agents connect again when this file changes, and only then read whom to trust: so it names the authority.
    return pulumi.Output.format(
        "# authority {2}\n"
        "endpoints:\n"
        "- https://{0}:{1}\n"
        f"trusted-ca-file: {FILES}-ca.crt\n"
        f"key-file: {FILES}.key\n"
        f"cert-file: {FILES}.crt\n",
        host,
        port,
        pods.fingerprint(authority.certificate),
    )


def shared(cluster: Cluster) -> Mapping[str, str]:
    """Annotations of a Service that both sites have: while this one has no pod for it, the other's answer."""
    return {"service.cilium.io/global": "true", "service.cilium.io/affinity": "local"} if cluster.mesh else {}


def others(cluster: Cluster) -> Sequence[policies.Peer]:
    """The other site's load balancers and hosts, which hand on to the pods here what nobody there can answer.

    They send from their host's address among the pods there; of that range Cilium matches hosts alone: pods go by
    labels.
    """
    mesh = cluster.mesh
    return [policies.network(cidr) for cidr in (mesh.peer_nodes, mesh.peer_pods)] if mesh else []
