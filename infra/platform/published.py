"""How an app is handed on to whoever is outside its cluster.

On a site of hosts by a port of the hosts, which their load balancers send to from the ingress address; at Amazon by a
network load balancer for each app, inside the VPC, so that it is reached from there and through the link.
"""

from __future__ import annotations

from typing import Any, Final

import pulumi
from pulumi_kubernetes import core

from infra.naming import TcpService
from infra.platform import pods, policies
from infra.platform.cluster import Cluster

SUFFIX: Final = "published"

AMAZONS: Final = {
    # Understood by what EKS itself runs; nothing has to be installed for it.
    "service.beta.kubernetes.io/aws-load-balancer-type": "nlb",
    "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
}


def balanced(cluster: Cluster) -> dict[str, str] | None:
    """The annotations of a Service that is handed on."""
    return dict(AMAZONS) if cluster.eks else None


def spec(
    app: str, port: core.v1.ServicePortArgsDict, cluster: Cluster, *, any_host: bool = False
) -> core.v1.ServiceSpecArgsDict:
    """The spec of a Service that hands the app on.

    A host answers for its own pods alone, so that load balancers find those that do, and pods see who asks; with
    `any_host` also for those of other hosts, and of the other site.
    """
    found: core.v1.ServiceSpecArgsDict = {
        "type": "NodePort",
        "external_traffic_policy": "Cluster" if any_host else "Local",
        "selector": pods.selector(app),
        "ports": [port],
    }
    if cluster.eks:
        found["type"] = "LoadBalancer"
        # Addresses of pods are of no use outside.
        found["load_balancer_source_ranges"] = [str(cidr) for cidr in cluster.senders if cidr != cluster.pod_cidr]
    return found


def host(service: core.v1.Service) -> pulumi.Output[str]:
    """The name of the load balancer that Amazon has made for a Service; empty where it has made none."""
    return service.status.apply(_host)


def _host(status: Any) -> str:
    found = status.load_balancer.ingress if status and status.load_balancer else None
    return str(found[0].hostname) if found else ""


def publish(
    app: str,
    namespace: str,
    port: int,
    as_: TcpService,
    *,
    port_name: str,
    cluster: Cluster,
    opts: pulumi.ResourceOptions,
) -> None:
    """Lets the load balancers in at a port of the app's pods, through `as_.node_port` of the hosts that run one.

    They listen at `as_.port`; on a site of hosts that is set up with the hosts.
    """
    name = f"{app}-{SUFFIX}"
    core.v1.Service(
        name,
        metadata=pods.metadata(app, name=name, namespace=namespace, annotations=balanced(cluster)),
        spec=spec(app, _port(port, as_, port_name, cluster), cluster),
        opts=opts,
    )
    senders = [policies.network(cidr) for cidr in cluster.senders]
    policies.allow(
        name,
        namespace,
        app_name=app,
        ingress=[{"from_": senders, "ports": policies.ports(port)}],
        egress=[],
        opts=opts,
    )


def _port(port: int, as_: TcpService, name: str, cluster: Cluster) -> core.v1.ServicePortArgsDict:
    if cluster.eks:
        return {"name": name, "port": as_.port, "target_port": port, "node_port": as_.node_port}
    return {"name": name, "port": port, "node_port": as_.node_port}
