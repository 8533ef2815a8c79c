"""Security groups and their rules."""

from __future__ import annotations

from typing import Any, Final

from infra.providers.offline.aws.kind import Client, Kind, Properties, given
from infra.providers.offline.aws.kinds.ec2_kind import ec2_kind, specified, tag


def _make_rule(aws: Client, inputs: Properties) -> str:
    made = aws.authorize_security_group_ingress(
        GroupId=inputs["securityGroupId"],
        IpPermissions=[
            {
                "IpProtocol": inputs["ipProtocol"],
                "FromPort": inputs["fromPort"],
                "ToPort": inputs["toPort"],
                "IpRanges": [given(CidrIp=inputs["cidrIpv4"], Description=inputs.get("description"))],
            }
        ],
    )
    return made["SecurityGroupRules"][0]["SecurityGroupRuleId"]


def _look_at_rule(aws: Client, rid: str, state: Properties) -> Properties | None:
    filters = [{"Name": "group-id", "Values": [state["securityGroupId"]]}]
    found = aws.describe_security_group_rules(Filters=filters)["SecurityGroupRules"]
    for rule in found:
        if rule["SecurityGroupRuleId"] == rid:
            return {"cidrIpv4": rule["CidrIpv4"], "fromPort": rule["FromPort"], "toPort": rule["ToPort"]}
    return None


def _adopt_default_group(aws: Client, inputs: Properties) -> str:
    filters = [{"Name": "vpc-id", "Values": [inputs["vpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
    group = aws.describe_security_groups(Filters=filters)["SecurityGroups"][0]
    if group["IpPermissions"]:
        aws.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=group["IpPermissions"])
    if group["IpPermissionsEgress"]:
        aws.revoke_security_group_egress(GroupId=group["GroupId"], IpPermissions=group["IpPermissionsEgress"])
    tag(aws, group["GroupId"], inputs.get("tagsAll") or {}, [])
    return group["GroupId"]


def _say_default_group(group: Any) -> Properties:
    # Any rule is one too many: what it says does not matter.
    return {"ingress": group["IpPermissions"], "egress": group["IpPermissionsEgress"], "vpcId": group["VpcId"]}


KINDS: Final = (
    ec2_kind(
        "SecurityGroup",
        lambda aws, inputs: aws.create_security_group(
            GroupName=inputs["name"],
            Description=inputs.get("description", "Managed by Pulumi"),
            VpcId=inputs["vpcId"],
            TagSpecifications=specified("security-group", inputs),
        )["GroupId"],
        lambda aws, rid: (
            aws.describe_security_groups(GroupIds=[rid])["SecurityGroups"],
            lambda one: {"name": one["GroupName"], "description": one["Description"], "vpcId": one["VpcId"]},
        ),
        lambda aws, rid, _: aws.delete_security_group(GroupId=rid),
        "InvalidGroup.NotFound",
        replace=("name", "description", "vpcId"),
        named="name",
    ),
    ec2_kind(
        "DefaultSecurityGroup",
        _adopt_default_group,
        lambda aws, rid: (aws.describe_security_groups(GroupIds=[rid])["SecurityGroups"], _say_default_group),
        lambda *_: None,  # it goes with its VPC, and cannot go before
        "InvalidGroup.NotFound",
        update=lambda aws, _rid, _olds, news: _adopt_default_group(aws, news),
        replace=("vpcId",),
    ),
    Kind(
        token="aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        service="ec2",
        create=_make_rule,
        read=_look_at_rule,
        delete=lambda aws, rid, state: aws.revoke_security_group_ingress(
            GroupId=state["securityGroupId"], SecurityGroupRuleIds=[rid]
        ),
        replace=frozenset({"securityGroupId", "cidrIpv4", "ipProtocol", "fromPort", "toPort", "description"}),
        gone=frozenset({"InvalidGroup.NotFound", "InvalidGroupId.NotFound", "InvalidSecurityGroupRuleId.NotFound"}),
    ),
)
