"""What the tests make in the account, and all that can be seen of it afterwards."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import boto3
from botocore.config import Config

from infra.paths import ROOT

SOURCE = ROOT / "mirror" / "images" / "aws-api" / "src"
ACCOUNT = "000011112222"
OBJECT = bytes(range(256)) * 12_000
FORM = "application/x-www-form-urlencoded; charset=utf-8"


def signed(service: str) -> str:
    """The header that names the service which a request is for."""
    return f"AWS4-HMAC-SHA256 Credential=lab/20261125/eu-central-1/{service}/aws4_request, SignedHeaders=host"


def client(endpoint: str, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="eu-central-1",
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def make(endpoint: str) -> None:
    """Some of what the cloud half makes, in two regions' worth of services."""
    ec2, kms, s3, eks, iam, efs = (client(endpoint, name) for name in ("ec2", "kms", "s3", "eks", "iam", "efs"))
    named = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "lab"}]}]
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16", TagSpecifications=named)["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{n}.0/24", AvailabilityZone=f"eu-central-1{zone}")["Subnet"]
        for n, zone in enumerate("ab")
    ]
    ids = [subnet["SubnetId"] for subnet in subnets]
    gateway = ec2.create_vpn_gateway(Type="ipsec.1", AmazonSideAsn=64999)["VpnGateway"]["VpnGatewayId"]
    customer = ec2.create_customer_gateway(Type="ipsec.1", BgpAsn=65001, PublicIp="203.0.113.9")["CustomerGateway"]
    ec2.create_vpn_connection(
        Type="ipsec.1", CustomerGatewayId=customer["CustomerGatewayId"], VpnGatewayId=gateway, Options={}
    )
    ec2.create_vpc_endpoint(
        VpcId=vpc, ServiceName="com.amazonaws.eu-central-1.sts", VpcEndpointType="Interface", SubnetIds=ids
    )
    for kind in ("rsa", "ed25519"):
        ec2.create_key_pair(KeyName=kind, KeyType=kind)
    kms.create_key(Tags=[{"TagKey": "a", "TagValue": "b"}])
    kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="models", Key="a/ü b+c", Body=OBJECT, Metadata={"my_key": "v"})
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = iam.create_role(RoleName="nodes", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.attach_role_policy(RoleName="nodes", PolicyArn="arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")
    eks.create_cluster(name="lab", roleArn=role, resourcesVpcConfig={"subnetIds": ids})
    eks.create_nodegroup(clusterName="lab", nodegroupName="cpu", subnets=ids, nodeRole=role, tags={"a": "b"})
    shared = efs.create_file_system(CreationToken="lab", Encrypted=True, Tags=[{"Key": "a", "Value": "b"}])
    efs.create_mount_target(FileSystemId=shared["FileSystemId"], SubnetId=ids[0])


def seen(endpoint: str) -> dict[str, Any]:
    """All that can be known of it, dates included."""
    ec2, kms, s3, eks, iam, efs = (client(endpoint, name) for name in ("ec2", "kms", "s3", "eks", "iam", "efs"))
    kinds = ("vpcs", "subnets", "security_groups", "route_tables", "vpn_gateways", "customer_gateways")
    kinds += ("vpn_connections", "vpc_endpoints", "network_interfaces", "key_pairs")
    found = {kind: getattr(ec2, f"describe_{kind}")() for kind in kinds}
    found["keys"] = [kms.describe_key(KeyId=key["KeyId"]) for key in kms.list_keys()["Keys"]]
    found["tags"] = [kms.list_resource_tags(KeyId=key["KeyId"]) for key in kms.list_keys()["Keys"]]
    signs = [key["KeyMetadata"]["KeyId"] for key in found["keys"] if key["KeyMetadata"].get("SigningAlgorithms")]
    found["public"] = [kms.get_public_key(KeyId=key) for key in signs]
    found["versions"] = s3.list_object_versions(Bucket="models")
    got = s3.get_object(Bucket="models", Key="a/ü b+c")
    found["object"] = {**got, "Body": hashlib.sha256(got["Body"].read()).hexdigest()}
    found["roles"], found["policies"] = iam.list_roles(), iam.list_attached_role_policies(RoleName="nodes")
    found["cluster"] = eks.describe_cluster(name="lab")
    found["nodes"] = eks.describe_nodegroup(clusterName="lab", nodegroupName="cpu")
    found["file_systems"] = efs.describe_file_systems()
    (shared,) = found["file_systems"]["FileSystems"]
    shared["SizeInBytes"].pop("Timestamp")  # the moment of asking
    found["mount_targets"] = efs.describe_mount_targets(FileSystemId=shared["FileSystemId"])
    for part in found.values():
        for one in part if isinstance(part, list) else [part]:
            one.pop("ResponseMetadata")
    return found
