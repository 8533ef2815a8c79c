"""The cloud's end of the link: a VPN connection of two tunnels to the site's gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, Final

import pulumi
from pulumi_aws import ec2

from infra.cloud.network import Vpc
from infra.environment import Cloud

TUNNEL: Final[Mapping[str, Any]] = {
    "ike_versions": ["ikev2"],
    "phase1_encryption_algorithms": ["AES256-GCM-16"],
    "phase1_integrity_algorithms": ["SHA2-384"],
    "phase1_dh_group_numbers": [20],
    "phase2_encryption_algorithms": ["AES256-GCM-16"],
    "phase2_integrity_algorithms": ["SHA2-384"],
    "phase2_dh_group_numbers": [20],
    # A tunnel that dies is begun again from this side too.
    "dpd_timeout_action": "restart",
    "startup_action": "start",
}


@dataclass(frozen=True, kw_only=True)
class Tunnel:
    """What the site needs for its end of one tunnel; `preshared_key` is secret."""

    address: pulumi.Output[str]
    inside_address: pulumi.Output[str]
    """The site's own address in the tunnel."""
    peer_inside_address: pulumi.Output[str]
    preshared_key: pulumi.Output[str]


class Link(pulumi.ComponentResource):
    """`tunnels`: two, so that one may be lost or be under Amazon's maintenance."""

    tunnels: tuple[Tunnel, Tunnel]

    def __init__(
        self,
        name: str,
        *,
        cloud: Cloud,
        network: Vpc,
        site: Sequence[IPv4Network],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`site`: the ranges behind the link's other end."""
        super().__init__("isthmus:cloud:Link", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        tags = {"Name": f"{cloud.cluster.name}-link"}
        gateway = ec2.VpnGateway(
            name, vpc_id=network.vpc.id, amazon_side_asn=str(cloud.link.cloud_asn), tags=tags, opts=child
        )
        customer = ec2.CustomerGateway(
            name,
            type="ipsec.1",
            ip_address=str(cloud.link.site_address),
            bgp_asn=str(cloud.link.site_asn),
            tags=tags,
            opts=child,
        )
        numbered = {f"tunnel{number}_{key}": value for number in (1, 2) for key, value in TUNNEL.items()}
        connection = ec2.VpnConnection(
            name,
            type="ipsec.1",
            vpn_gateway_id=gateway.id,
            customer_gateway_id=customer.id,
            # The ranges are known and few; a routing daemon on either side would be one more thing to fail.
            static_routes_only=True,
            tags=tags,
            **numbered,
            opts=child,
        )
        for range_ in site:
            ec2.VpnConnectionRoute(
                f"site-{range_.network_address}",
                vpn_connection_id=connection.id,
                destination_cidr_block=str(range_),
                opts=child,
            )
        for zone, table in network.private_tables.items():
            ec2.VpnGatewayRoutePropagation(
                f"private-{zone[-1]}", vpn_gateway_id=gateway.id, route_table_id=table.id, opts=child
            )
        self.tunnels = (
            Tunnel(
                address=connection.tunnel1_address,
                inside_address=connection.tunnel1_cgw_inside_address,
                peer_inside_address=connection.tunnel1_vgw_inside_address,
                preshared_key=pulumi.Output.secret(connection.tunnel1_preshared_key),
            ),
            Tunnel(
                address=connection.tunnel2_address,
                inside_address=connection.tunnel2_cgw_inside_address,
                peer_inside_address=connection.tunnel2_vgw_inside_address,
                preshared_key=pulumi.Output.secret(connection.tunnel2_preshared_key),
            ),
        )
        self.register_outputs({})
