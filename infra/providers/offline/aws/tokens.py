"""The resource types that this project uses, and what AWS's plugin names by itself where the program does not."""

from __future__ import annotations

import random
from typing import Any, Final

TYPES: Final[dict[str, str | None]] = {
    "aws:budgets/budget:Budget": "name",
    "aws:cloudwatch/logGroup:LogGroup": "name",
    "aws:ec2/customerGateway:CustomerGateway": None,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": None,
    "aws:ec2/eip:Eip": None,
    "aws:ec2/flowLog:FlowLog": None,
    "aws:ec2/internetGateway:InternetGateway": None,
    "aws:ec2/launchTemplate:LaunchTemplate": "name",
    "aws:ec2/natGateway:NatGateway": None,
    "aws:ec2/route:Route": None,
    "aws:ec2/routeTable:RouteTable": None,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": None,
    "aws:ec2/securityGroup:SecurityGroup": "name",
    "aws:ec2/subnet:Subnet": None,
    "aws:ec2/vpc:Vpc": None,
    "aws:ec2/vpcEndpoint:VpcEndpoint": None,
    "aws:ec2/vpnConnection:VpnConnection": None,
    "aws:ec2/vpnConnectionRoute:VpnConnectionRoute": None,
    "aws:ec2/vpnGateway:VpnGateway": None,
    "aws:ec2/vpnGatewayRoutePropagation:VpnGatewayRoutePropagation": None,
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": None,
    "aws:ecr/repository:Repository": "name",
    "aws:eks/accessEntry:AccessEntry": None,
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": None,
    "aws:eks/addon:Addon": None,
    "aws:eks/cluster:Cluster": "name",
    "aws:eks/nodeGroup:NodeGroup": "nodeGroupName",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": None,
    "aws:iam/role:Role": "name",
    "aws:iam/rolePolicy:RolePolicy": "name",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": None,
    "aws:kms/alias:Alias": "name",
    "aws:kms/key:Key": None,
    "aws:s3/bucket:Bucket": "bucket",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": None,
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": None,
    "aws:s3/bucketPolicy:BucketPolicy": None,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": None,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": None,
    "aws:s3/bucketVersioning:BucketVersioning": None,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": None,
}
"""Token -> the input that is named after the resource, with seven hex digits, when the program leaves it out."""


class UnknownType(Exception):
    """A type or function that the stand-in does not have; the message names it."""


def known(token: str) -> str | None:
    """The input that is named automatically, if the type has one; UnknownType for a type that is not known."""
    if token not in TYPES:
        raise UnknownType(f"the stand-in for the aws plugin does not know {token}; the official plugin does")
    return TYPES[token]


def named(token: str, name: str, inputs: dict[str, Any], olds: dict[str, Any], seed: bytes) -> dict[str, Any]:
    """The inputs with their automatic name: the one that they had, or one made from the engine's seed."""
    key = known(token)
    if key is None or inputs.get(key) is not None:
        return inputs
    digits = f"{random.Random(seed).getrandbits(28):07x}"  # a name, not a secret
    return {**inputs, key: olds.get(key) or f"{name}-{digits}"}
