"""How an app is handed on at the site's ingress address: by a port of the hosts, which the load balancers send to."""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_kubernetes import core

from infra.naming import TcpService
from infra.platform import pods, policies
from infra.platform.cluster import Cluster

SUFFIX: Final = "published"


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
    """Lets the load balancers in at a port of the app's pods, through `as_.node_port` of the hosts that run one."""
    name = f"{app}-{SUFFIX}"
    core.v1.Service(
        name,
        metadata=pods.metadata(app, name=name, namespace=namespace),
        spec={
            "type": "NodePort",
            # A host answers for its own pods alone, so that the load balancers find those that do.
            "external_traffic_policy": "Local",
            "selector": pods.selector(app),
            "ports": [{"name": port_name, "port": port, "node_port": as_.node_port}],
        },
        opts=opts,
    )
    # A load balancer sends from its host's own address, or from the one that its host has in the pod network.
    hosts = [policies.network(cluster.node_cidr), policies.network(cluster.pod_cidr)]
    policies.allow(
        name,
        namespace,
        app_name=app,
        ingress=[{"from_": hosts, "ports": policies.ports(port)}],
        egress=[],
        opts=opts,
    )
