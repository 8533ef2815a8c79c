"""What a lab has where Amazon would run a control plane and nodes: hosts, described as any site's; pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from infra import nodes
from infra.cloud.subnets import plan
from infra.environment import Cloud, Host, NodeGroup, Onprem, SiteNetwork
from infra.environment_checks import LAB_NODES

GATEWAY, MIRROR, AWS_API, API, INGRESS, CONTROL_PLANE, VPN = 1, 2, 3, 4, 5, 6, 7
"""Which address of the VPC's range each has. Nodes follow from NODES on, each zone's in its private subnet."""

NODES: Final = 16
UPLINKS: Final = (IPv4Network("198.18.1.0/24"), IPv4Network("198.18.2.0/24"))
"""Networks on which the link's tunnels end, one each, so that each can be lost alone; kept for tests by RFC 2544."""

API_PORT: Final = 443
"""As EKS has it."""
AWS_API_PORT: Final = 5000


def site(cloud: Cloud) -> Onprem:
    """The cloud half as a site of lab machines: one control plane, and the nodes that its groups are to have now."""
    first = cloud.network.cidr
    plane = Host(
        name=f"{cloud.cluster.name}-api",
        address=first[CONTROL_PLANE],
        roles=("control_plane", "load_balancer"),
    )
    return Onprem(
        provisioner="lab",
        reset_allowed=True,
        cluster=cloud.cluster,
        network=SiteNetwork(
            cidr=first,
            gateway=first[GATEWAY],
            mirror_address=first[MIRROR],
            api_address=first[API],
            api_port=API_PORT,
            ingress_address=first[INGRESS],
            pod_cidr=cloud.network.pod_cidr,
            service_cidr=cloud.network.service_cidr,
        ),
        hosts=(plane, *_nodes(cloud)),
    )


def vpn(cloud: Cloud) -> IPv4Address:
    """Where the lab's far end of the link is, as Amazon's VPN gateway would be: the next hop to the other site."""
    return cloud.network.cidr[VPN]


def vpn_name(cloud: Cloud) -> str:
    """The machine of the link's far end; no node of the cluster."""
    return f"{cloud.cluster.name}-vpn"


def aws_api(cloud: Cloud) -> IPv4Address:
    """Where the lab answers AWS's API."""
    return cloud.network.cidr[AWS_API]


def aws_url(cloud: Cloud) -> str:
    """The same, as a client takes it."""
    return f"http://{aws_api(cloud)}:{AWS_API_PORT}"


def _nodes(cloud: Cloud) -> Iterator[Host]:
    for at, group in enumerate(cloud.node_groups):
        for number in range(group.desired):
            yield _node(cloud, at, group, number)


def _node(cloud: Cloud, at: int, group: NodeGroup, number: int) -> Host:
    """A group that grows moves no node of its own or of another group."""
    planned = {zone.name: zone for zone in plan(cloud.network.cidr, cloud.zones)}
    zones = [planned[name] for name in cloud.zones_of(group)]
    zone = zones[number % len(zones)]
    return Host(
        name=f"{cloud.cluster.name}-{group.name}-{number + 1}",
        address=zone.private[NODES + at * LAB_NODES + number // len(zones)],
        roles=("worker",),
        labels={
            "topology.kubernetes.io/region": cloud.region,
            "topology.kubernetes.io/zone": zone.name,
            **nodes.labels(group),
        },
        taints=tuple(nodes.taints(group)),
    )
