"""The network's kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from infra.providers.offline.aws.kind import Client, Kind, Properties, given
from infra.providers.offline.aws.kinds.ec2_kind import alive, ec2_kind, specified


def _make_vpc(aws: Client, inputs: Properties) -> str:
    made = aws.create_vpc(CidrBlock=inputs["cidrBlock"], TagSpecifications=specified("vpc", inputs))
    return made["Vpc"]["VpcId"]


def _set_vpc(aws: Client, rid: str, news: Properties) -> None:
    # One attribute a call: AWS takes no more.
    for key, attribute in _VPC_FLAGS.items():
        aws.modify_vpc_attribute(VpcId=rid, **{attribute: {"Value": bool(news.get(key))}})


_VPC_FLAGS: Final = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames"}


def _look_at_vpc(aws: Client, rid: str) -> tuple[Any, Callable[[Any], Properties]]:
    def say(vpc: Any) -> Properties:
        flags = {
            key: aws.describe_vpc_attribute(VpcId=rid, Attribute=f"{key[0].lower()}{key[1:]}")[attribute]["Value"]
            for key, attribute in _VPC_FLAGS.items()
        }
        return {"cidrBlock": vpc["CidrBlock"], "arn": _arn(vpc, "vpc", rid), **flags}

    return aws.describe_vpcs(VpcIds=[rid])["Vpcs"], say


def _arn(thing: Any, kind: str, rid: str) -> str:
    return f"arn:aws:ec2:::{thing.get('OwnerId', '')}:{kind}/{rid}"


def _make_gateway(aws: Client, inputs: Properties) -> str:
    made = aws.create_internet_gateway(TagSpecifications=specified("internet-gateway", inputs))
    return made["InternetGateway"]["InternetGatewayId"]


def _attached(aws: Client, rid: str) -> bool:
    found = aws.describe_internet_gateways(InternetGatewayIds=[rid])["InternetGateways"]
    return any(gateway["Attachments"] for gateway in found)


def _attach_gateway(aws: Client, rid: str, inputs: Properties) -> None:
    if not _attached(aws, rid):
        aws.attach_internet_gateway(InternetGatewayId=rid, VpcId=inputs["vpcId"])


def _remove_gateway(aws: Client, rid: str, state: Properties) -> None:
    if _attached(aws, rid):
        aws.detach_internet_gateway(InternetGatewayId=rid, VpcId=state["vpcId"])
    aws.delete_internet_gateway(InternetGatewayId=rid)


def _make_route(aws: Client, inputs: Properties) -> str:
    through = given(GatewayId=inputs.get("gatewayId"), NatGatewayId=inputs.get("natGatewayId"))
    to = inputs["destinationCidrBlock"]
    aws.create_route(RouteTableId=inputs["routeTableId"], DestinationCidrBlock=to, **through)
    return f"r-{inputs['routeTableId']}-{to}"


def _look_at_route(aws: Client, _rid: str, state: Properties) -> Properties | None:
    tables = aws.describe_route_tables(RouteTableIds=[state["routeTableId"]])["RouteTables"]
    for route in tables[0]["Routes"] if tables else []:
        if route.get("DestinationCidrBlock") == state["destinationCidrBlock"]:
            return given(gatewayId=route.get("GatewayId"), natGatewayId=route.get("NatGatewayId"))
    return None


def _look_at_association(aws: Client, rid: str, state: Properties) -> Properties | None:
    tables = aws.describe_route_tables(RouteTableIds=[state["routeTableId"]])["RouteTables"]
    for one in tables[0]["Associations"] if tables else []:
        if one["RouteTableAssociationId"] == rid:
            return {"subnetId": one["SubnetId"]}
    return None


def _make_endpoint(aws: Client, inputs: Properties) -> str:
    made = aws.create_vpc_endpoint(
        VpcId=inputs["vpcId"],
        ServiceName=inputs["serviceName"],
        VpcEndpointType=inputs["vpcEndpointType"],
        TagSpecifications=specified("vpc-endpoint", inputs),
        **given(
            RouteTableIds=inputs.get("routeTableIds"),
            SubnetIds=inputs.get("subnetIds"),
            SecurityGroupIds=inputs.get("securityGroupIds"),
            PrivateDnsEnabled=inputs.get("privateDnsEnabled"),
        ),
    )
    return made["VpcEndpoint"]["VpcEndpointId"]


def _make_flow_log(aws: Client, inputs: Properties) -> str:
    made = aws.create_flow_logs(
        ResourceIds=[inputs["vpcId"]],
        ResourceType="VPC",
        TrafficType=inputs["trafficType"],
        LogDestinationType=inputs["logDestinationType"],
        LogGroupName=inputs["logDestination"].rpartition(":log-group:")[2].removesuffix(":*"),
        DeliverLogsPermissionArn=inputs["iamRoleArn"],
        MaxAggregationInterval=inputs["maxAggregationInterval"],
        TagSpecifications=specified("vpc-flow-log", inputs),
    )
    return made["FlowLogIds"][0]


KINDS: Final = (
    ec2_kind(
        "Vpc",
        _make_vpc,
        _look_at_vpc,
        lambda aws, rid, _: aws.delete_vpc(VpcId=rid),
        "InvalidVpcID.NotFound",
        update=lambda *_: None,
        settle=_set_vpc,
        replace=("cidrBlock",),
    ),
    ec2_kind(
        "Subnet",
        lambda aws, inputs: aws.create_subnet(
            VpcId=inputs["vpcId"],
            CidrBlock=inputs["cidrBlock"],
            **given(AvailabilityZone=inputs.get("availabilityZone")),
            TagSpecifications=specified("subnet", inputs),
        )["Subnet"]["SubnetId"],
        lambda aws, rid: (
            aws.describe_subnets(SubnetIds=[rid])["Subnets"],
            lambda one: {
                "vpcId": one["VpcId"],
                "cidrBlock": one["CidrBlock"],
                "availabilityZone": one["AvailabilityZone"],
                "mapPublicIpOnLaunch": one["MapPublicIpOnLaunch"],
                "arn": one["SubnetArn"],
            },
        ),
        lambda aws, rid, _: aws.delete_subnet(SubnetId=rid),
        "InvalidSubnetID.NotFound",
        update=lambda aws, rid, _, news: aws.modify_subnet_attribute(
            SubnetId=rid, MapPublicIpOnLaunch={"Value": bool(news.get("mapPublicIpOnLaunch"))}
        ),
        replace=("vpcId", "cidrBlock", "availabilityZone"),
    ),
    ec2_kind(
        "InternetGateway",
        _make_gateway,
        lambda aws, rid: (
            aws.describe_internet_gateways(InternetGatewayIds=[rid])["InternetGateways"],
            lambda one: {"vpcId": one["Attachments"][0]["VpcId"] if one["Attachments"] else ""},
        ),
        _remove_gateway,
        "InvalidInternetGatewayID.NotFound",
        settle=_attach_gateway,
        replace=("vpcId",),
    ),
    ec2_kind(
        "Eip",
        lambda aws, inputs: aws.allocate_address(
            Domain=inputs["domain"], TagSpecifications=specified("elastic-ip", inputs)
        )["AllocationId"],
        lambda aws, rid: (
            aws.describe_addresses(AllocationIds=[rid])["Addresses"],
            lambda one: {"publicIp": one["PublicIp"], "allocationId": rid},
        ),
        lambda aws, rid, _: aws.release_address(AllocationId=rid),
        "InvalidAllocationID.NotFound",
        replace=("domain",),
    ),
    ec2_kind(
        "NatGateway",
        lambda aws, inputs: aws.create_nat_gateway(
            AllocationId=inputs["allocationId"],
            SubnetId=inputs["subnetId"],
            TagSpecifications=specified("natgateway", inputs),
        )["NatGateway"]["NatGatewayId"],
        lambda aws, rid: (
            alive(aws.describe_nat_gateways(NatGatewayIds=[rid])["NatGateways"], "deleted", "deleting"),
            lambda one: {"subnetId": one["SubnetId"]},
        ),
        lambda aws, rid, _: aws.delete_nat_gateway(NatGatewayId=rid),
        "NatGatewayNotFound",
        replace=("allocationId", "subnetId"),
    ),
    ec2_kind(
        "RouteTable",
        lambda aws, inputs: aws.create_route_table(
            VpcId=inputs["vpcId"], TagSpecifications=specified("route-table", inputs)
        )["RouteTable"]["RouteTableId"],
        lambda aws, rid: (
            aws.describe_route_tables(RouteTableIds=[rid])["RouteTables"],
            lambda one: {"vpcId": one["VpcId"]},
        ),
        lambda aws, rid, _: aws.delete_route_table(RouteTableId=rid),
        "InvalidRouteTableID.NotFound",
        replace=("vpcId",),
    ),
    Kind(
        token="aws:ec2/route:Route",
        service="ec2",
        create=_make_route,
        read=_look_at_route,
        update=lambda aws, _rid, _olds, news: aws.replace_route(
            RouteTableId=news["routeTableId"],
            DestinationCidrBlock=news["destinationCidrBlock"],
            **given(GatewayId=news.get("gatewayId"), NatGatewayId=news.get("natGatewayId")),
        ),
        delete=lambda aws, _rid, state: aws.delete_route(
            RouteTableId=state["routeTableId"], DestinationCidrBlock=state["destinationCidrBlock"]
        ),
        replace=frozenset({"routeTableId", "destinationCidrBlock"}),
        gone=frozenset({"InvalidRouteTableID.NotFound", "InvalidRoute.NotFound"}),
    ),
    Kind(
        token="aws:ec2/routeTableAssociation:RouteTableAssociation",
        service="ec2",
        create=lambda aws, inputs: aws.associate_route_table(
            SubnetId=inputs["subnetId"], RouteTableId=inputs["routeTableId"]
        )["AssociationId"],
        read=_look_at_association,
        delete=lambda aws, rid, _: aws.disassociate_route_table(AssociationId=rid),
        replace=frozenset({"subnetId", "routeTableId"}),
        gone=frozenset({"InvalidRouteTableID.NotFound", "InvalidAssociationID.NotFound"}),
    ),
    ec2_kind(
        "VpcEndpoint",
        _make_endpoint,
        lambda aws, rid: (
            alive(aws.describe_vpc_endpoints(VpcEndpointIds=[rid])["VpcEndpoints"], "deleted", "deleting"),
            lambda one: {"vpcId": one["VpcId"], "serviceName": one["ServiceName"]},
        ),
        lambda aws, rid, _: aws.delete_vpc_endpoints(VpcEndpointIds=[rid]),
        "InvalidVpcEndpointId.NotFound",
        replace=("vpcId", "serviceName", "vpcEndpointType", "routeTableIds", "subnetIds", "securityGroupIds"),
    ),
    ec2_kind(
        "FlowLog",
        _make_flow_log,
        lambda aws, rid: (
            aws.describe_flow_logs(FlowLogIds=[rid])["FlowLogs"],
            lambda one: {"vpcId": one["ResourceId"], "trafficType": one["TrafficType"]},
        ),
        lambda aws, rid, _: aws.delete_flow_logs(FlowLogIds=[rid]),
        "InvalidFlowLogId.NotFound",
        replace=(
            "vpcId",
            "trafficType",
            "logDestination",
            "logDestinationType",
            "iamRoleArn",
            "maxAggregationInterval",
        ),
    ),
)
