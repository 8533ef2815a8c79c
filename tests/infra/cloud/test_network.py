"""The private ways from the VPC to AWS, and the record of what goes through it."""

from __future__ import annotations

from typing import Any

from infra.environment import Cloud
from tests.infra.cloud.conftest import Recorded


def settings(cloud: Recorded) -> Cloud:
    found = cloud.environment.cloud
    assert found is not None
    return found


def endpoints(cloud: Recorded, kind: str) -> dict[str, dict[str, Any]]:
    """Service without its region's part -> inputs, of a kind of endpoints."""
    found = [one.inputs for one in cloud.of("ec2/vpcEndpoint:VpcEndpoint")]
    prefix = f"com.amazonaws.{settings(cloud).region}."
    return {one["serviceName"].removeprefix(prefix): one for one in found if one["vpcEndpointType"] == kind}


def private(cloud: Recorded) -> set[str]:
    return {f"private-{zone[-1]}-id" for zone in settings(cloud).zones}


def test_objects_reach_s3_from_every_private_subnet_without_the_internet(cloud: Recorded) -> None:
    gateways = endpoints(cloud, "Gateway")
    assert gateways.keys() == {"s3"}
    assert set(gateways["s3"]["routeTableIds"]) == private(cloud)


def test_images_tokens_and_logs_have_an_interface_under_amazons_own_names_in_every_zone(cloud: Recorded) -> None:
    interfaces = endpoints(cloud, "Interface")
    assert interfaces.keys() >= {"ecr.api", "ecr.dkr", "sts", "logs"}
    for service, made in interfaces.items():
        assert made["privateDnsEnabled"] is True, service
        assert set(made["subnetIds"]) == private(cloud), service


def test_interfaces_are_reached_by_https_from_the_vpc_alone(cloud: Recorded) -> None:
    for service, made in endpoints(cloud, "Interface").items():
        assert made["securityGroupIds"] == ["endpoints-id"], service
    # A group of its own, whose only rule this is.
    assert not {"ingress", "egress"} & cloud.one("ec2/securityGroup:SecurityGroup", "endpoints").inputs.keys()
    rules = [one.inputs for one in cloud.of("vpc/securityGroupIngressRule:SecurityGroupIngressRule")]
    (rule,) = [one for one in rules if one["securityGroupId"] == "endpoints-id"]
    assert rule["cidrIpv4"] == str(settings(cloud).network.cidr)
    assert (rule["ipProtocol"], rule["fromPort"], rule["toPort"]) == ("tcp", 443, 443)


def test_all_that_goes_through_the_vpc_is_recorded_encrypted_and_kept_as_long_as_the_file_says(cloud: Recorded) -> None:
    made = cloud.one("ec2/flowLog:FlowLog").inputs
    group = cloud.one("cloudwatch/logGroup:LogGroup", "flow-logs").inputs
    assert (made["vpcId"], made["trafficType"]) == ("vpc-id", "ALL")
    assert (made["logDestinationType"], made["logDestination"]) == ("cloud-watch-logs", "arn:aws:::flow-logs")
    assert group["kmsKeyId"] == "arn:aws:::logs"
    assert {one.inputs["retentionInDays"] for one in cloud.of("cloudwatch/logGroup:LogGroup")} == {
        settings(cloud).log_retention_days
    }
