"""The kinds of the link to the site."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any, Final

from infra.providers.offline.aws.kind import Client, Kind, Properties, given
from infra.providers.offline.aws.kinds.ec2_kind import alive, ec2_kind, specified


def _make_vpn_gateway(aws: Client, inputs: Properties) -> str:
    made = aws.create_vpn_gateway(
        Type="ipsec.1", AmazonSideAsn=int(inputs["amazonSideAsn"]), TagSpecifications=specified("vpn-gateway", inputs)
    )
    return made["VpnGateway"]["VpnGatewayId"]


def _attached(aws: Client, rid: str) -> bool:
    found = aws.describe_vpn_gateways(VpnGatewayIds=[rid])["VpnGateways"]
    attachments = [one for gateway in found for one in gateway.get("VpcAttachments", [])]
    return any(one["State"] in ("attaching", "attached") for one in attachments)


def _attach_vpn_gateway(aws: Client, rid: str, inputs: Properties) -> None:
    if not _attached(aws, rid):
        aws.attach_vpn_gateway(VpnGatewayId=rid, VpcId=inputs["vpcId"])


def _remove_vpn_gateway(aws: Client, rid: str, state: Properties) -> None:
    if _attached(aws, rid):
        aws.detach_vpn_gateway(VpnGatewayId=rid, VpcId=state["vpcId"])
    aws.delete_vpn_gateway(VpnGatewayId=rid)


_TUNNEL: Final = {
    "IkeVersions": "IKEVersions",
    "Phase1EncryptionAlgorithms": "Phase1EncryptionAlgorithms",
    "Phase1IntegrityAlgorithms": "Phase1IntegrityAlgorithms",
    "Phase1DhGroupNumbers": "Phase1DHGroupNumbers",
    "Phase2EncryptionAlgorithms": "Phase2EncryptionAlgorithms",
    "Phase2IntegrityAlgorithms": "Phase2IntegrityAlgorithms",
    "Phase2DhGroupNumbers": "Phase2DHGroupNumbers",
}
"""Lists of a tunnel, as pulumi-aws and as AWS name them."""


def _make_connection(aws: Client, inputs: Properties) -> str:
    options = []
    for number in (1, 2):
        lists = {
            there: [{"Value": value} for value in inputs[f"tunnel{number}{here}"]]
            for here, there in _TUNNEL.items()
            if inputs.get(f"tunnel{number}{here}")
        }
        timeout, startup = inputs.get(f"tunnel{number}DpdTimeoutAction"), inputs.get(f"tunnel{number}StartupAction")
        options.append({**lists, **given(DPDTimeoutAction=timeout, StartupAction=startup)})
    made = aws.create_vpn_connection(
        Type=inputs["type"],
        CustomerGatewayId=inputs["customerGatewayId"],
        VpnGatewayId=inputs["vpnGatewayId"],
        Options={"StaticRoutesOnly": bool(inputs.get("staticRoutesOnly")), "TunnelOptions": options},
        TagSpecifications=specified("vpn-connection", inputs),
    )
    return made["VpnConnection"]["VpnConnectionId"]


def _say_connection(connection: Any) -> Properties:
    """AWS hands the tunnels' addresses and keys over in the configuration that it writes for the other end."""
    said: Properties = {
        "customerGatewayId": connection["CustomerGatewayId"],
        "vpnGatewayId": connection["VpnGatewayId"],
        "type": connection["Type"],
    }
    tunnels = ElementTree.fromstring(connection["CustomerGatewayConfiguration"]).iter("ipsec_tunnel")
    for number, tunnel in enumerate(tunnels, start=1):
        paths = {
            "Address": "vpn_gateway/tunnel_outside_address/ip_address",
            "CgwInsideAddress": "customer_gateway/tunnel_inside_address/ip_address",
            "VgwInsideAddress": "vpn_gateway/tunnel_inside_address/ip_address",
            "PresharedKey": "ike/pre_shared_key",
        }
        said |= {f"tunnel{number}{key}": (tunnel.findtext(path) or "").strip() for key, path in paths.items()}
    return said


KINDS: Final = (
    ec2_kind(
        "VpnGateway",
        _make_vpn_gateway,
        lambda aws, rid: (
            alive(aws.describe_vpn_gateways(VpnGatewayIds=[rid])["VpnGateways"], "deleted"),
            lambda one: {"amazonSideAsn": str(one["AmazonSideAsn"])},
        ),
        _remove_vpn_gateway,
        "InvalidVpnGatewayID.NotFound",
        settle=_attach_vpn_gateway,
        replace=("amazonSideAsn", "vpcId"),
    ),
    ec2_kind(
        "CustomerGateway",
        lambda aws, inputs: aws.create_customer_gateway(
            Type=inputs["type"],
            BgpAsn=int(inputs["bgpAsn"]),
            IpAddress=inputs["ipAddress"],
            TagSpecifications=specified("customer-gateway", inputs),
        )["CustomerGateway"]["CustomerGatewayId"],
        lambda aws, rid: (
            alive(aws.describe_customer_gateways(CustomerGatewayIds=[rid])["CustomerGateways"], "deleted"),
            lambda one: {"ipAddress": one["IpAddress"], "bgpAsn": str(one["BgpAsn"]), "type": one["Type"]},
        ),
        lambda aws, rid, _: aws.delete_customer_gateway(CustomerGatewayId=rid),
        "InvalidCustomerGatewayID.NotFound",
        replace=("type", "bgpAsn", "ipAddress"),
    ),
    ec2_kind(
        "VpnConnection",
        _make_connection,
        lambda aws, rid: (
            alive(aws.describe_vpn_connections(VpnConnectionIds=[rid])["VpnConnections"], "deleted"),
            _say_connection,
        ),
        lambda aws, rid, _: aws.delete_vpn_connection(VpnConnectionId=rid),
        "InvalidVpnConnectionID.NotFound",
        replace=(
            *("customerGatewayId", "vpnGatewayId", "type", "staticRoutesOnly"),
            *(f"tunnel{number}{key}" for number in (1, 2) for key in (*_TUNNEL, "DpdTimeoutAction", "StartupAction")),
        ),
        secrets=("tunnel1PresharedKey", "tunnel2PresharedKey"),
    ),
    Kind(
        token="aws:ec2/vpnConnectionRoute:VpnConnectionRoute",
        service="ec2",
        exercised=False,
        create=lambda aws, inputs: (
            aws.create_vpn_connection_route(
                VpnConnectionId=inputs["vpnConnectionId"], DestinationCidrBlock=inputs["destinationCidrBlock"]
            )
            and f"{inputs['destinationCidrBlock']}:{inputs['vpnConnectionId']}"
        ),
        read=lambda *_: {},
        delete=lambda aws, _rid, state: aws.delete_vpn_connection_route(
            VpnConnectionId=state["vpnConnectionId"], DestinationCidrBlock=state["destinationCidrBlock"]
        ),
        replace=frozenset({"vpnConnectionId", "destinationCidrBlock"}),
    ),
    Kind(
        token="aws:ec2/vpnGatewayRoutePropagation:VpnGatewayRoutePropagation",
        service="ec2",
        exercised=False,
        create=lambda aws, inputs: (
            aws.enable_vgw_route_propagation(GatewayId=inputs["vpnGatewayId"], RouteTableId=inputs["routeTableId"])
            and f"{inputs['vpnGatewayId']}_{inputs['routeTableId']}"
        ),
        read=lambda *_: {},
        delete=lambda aws, _rid, state: aws.disable_vgw_route_propagation(
            GatewayId=state["vpnGatewayId"], RouteTableId=state["routeTableId"]
        ),
        replace=frozenset({"vpnGatewayId", "routeTableId"}),
    ),
)
