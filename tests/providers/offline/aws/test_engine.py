"""The cloud half through the real engine and the stand-in, at a real AWS API (moto): made, kept, healed, deleted.

The tests are a story: each goes on where the one before it ended.
"""

from __future__ import annotations

import pytest

from infra import environment
from tests import aws_account
from tests.providers.offline.aws.conftest import laboratory

pytestmark = pytest.mark.engine

CLUSTER = "cloud"

UNEXERCISED = {
    "aws:ec2/vpnConnectionRoute:VpnConnectionRoute",
    "aws:ec2/vpnGatewayRoutePropagation:VpnGatewayRoutePropagation",
    "aws:eks/accessEntry:AccessEntry",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
    "aws:eks/addon:Addon",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation",
}


def test_all_of_it_is_made(stack, aws) -> None:
    made = stack.up()
    assert made.code == 0, made.text[-3000:]
    assert set(made.operations.values()) == {"create"}
    for token in UNEXERCISED:
        assert made.diagnostics.count(f"not exercised here: {token} ") == 1, token
    assert made.diagnostics.count("not exercised here") == len(UNEXERCISED)
    assert aws_account.found(aws) == aws_account.said_by(environment.load(stack.folder / "laboratory.yaml"))
    for bucket in aws("s3").list_buckets()["Buckets"]:
        name = bucket["Name"]
        assert aws("s3").get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
        assert all(aws("s3").get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
    (shared,) = aws("efs").describe_file_systems()["FileSystems"]
    assert shared["Encrypted"]
    assert shared["NumberOfMountTargets"] == 3
    (vpc,) = aws("ec2").describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.42.0.0/16"]}])["Vpcs"]
    assert {tag["Key"] for tag in vpc["Tags"]} >= {"Name", "isthmus:environment", "isthmus:managed-by"}


def test_secrets_are_not_in_the_state(stack) -> None:
    outputs = stack.outputs()
    assert outputs["key"] and "eks" in outputs["kubeconfig"]
    exported = stack.pulumi("stack", "export").text
    assert outputs["key"] not in exported


def test_a_second_run_changes_nothing(stack) -> None:
    again = stack.up()
    assert (again.code, again.operations) == (0, {}), again.text[-3000:]


def test_a_refresh_of_what_nobody_touched_finds_nothing(stack) -> None:
    looked = stack.preview("--refresh", "--expect-no-changes", "--diff")
    assert looked.code == 0, looked.text[-4000:]


def test_what_somebody_changed_is_reported_and_healed(stack, aws) -> None:
    models = next(b["Name"] for b in aws("s3").list_buckets()["Buckets"] if b["Name"].startswith("models-"))
    vpc = aws("ec2").describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.42.0.0/16"]}])["Vpcs"][0]["VpcId"]
    size = {"minSize": 0, "desiredSize": 0, "maxSize": 4}
    name = aws_account.node_group(aws("eks"), CLUSTER, "general")["nodegroupName"]
    aws("eks").update_nodegroup_config(clusterName=CLUSTER, nodegroupName=name, scalingConfig=size)
    aws("s3").put_bucket_versioning(Bucket=models, VersioningConfiguration={"Status": "Suspended"})
    aws("ec2").delete_tags(Resources=[vpc], Tags=[{"Key": "isthmus:environment"}])
    aws("budgets").delete_budget(AccountId="123456789012", BudgetName="isthmus-laboratory")
    stack.refresh()
    planned = stack.preview()
    expected = {
        ("NodeGroup", "general"): "update",
        ("BucketVersioning", "models"): "update",
        ("Vpc", "vpc"): "update",
        ("Budget", "monthly"): "create",
    }
    assert planned.operations == expected, planned.text[-3000:]
    healed = stack.up()
    assert (healed.code, healed.operations) == (0, expected), healed.text[-3000:]
    group = aws_account.node_group(aws("eks"), CLUSTER, "general")
    assert group["scalingConfig"]["desiredSize"] == 2
    assert aws("s3").get_bucket_versioning(Bucket=models)["Status"] == "Enabled"
    assert stack.up().operations == {}


def test_a_change_in_the_file_touches_what_it_names(stack, aws) -> None:
    text = laboratory(**{"min: 1, desired: 2, max: 4": "min: 1, desired: 3, max: 5"})
    (stack.folder / "laboratory.yaml").write_text(text)
    changed = stack.up()
    assert (changed.code, changed.operations) == (0, {("NodeGroup", "general"): "update"}), changed.text[-3000:]
    group = aws_account.node_group(aws("eks"), CLUSTER, "general")
    assert group["scalingConfig"] == {"minSize": 1, "desiredSize": 3, "maxSize": 5}


def test_what_cannot_be_changed_is_replaced(stack) -> None:
    path = stack.folder / "laboratory.yaml"
    text = path.read_text().replace("198.51.100.20", "198.51.100.21")
    path.write_text(text.replace("[m7i.xlarge, m6i.xlarge]", "[m7i.xlarge, m7a.xlarge]"))
    changed = stack.up()
    assert changed.code == 0, changed.text[-3000:]
    assert changed.operations[("CustomerGateway", "link")] in ("create-replacement", "replace")
    assert changed.operations[("VpnConnection", "link")] in ("create-replacement", "replace")
    assert changed.operations[("NodeGroup", "batch")] == "create-replacement", "before the old one goes"
    assert ("NodeGroup", "general") not in changed.operations
    assert not {name for kind, name in changed.operations if kind in ("Vpc", "Subnet", "Cluster", "Bucket")}


def test_its_end_leaves_the_account_empty(stack, aws) -> None:
    gone = stack.destroy()
    assert gone.code == 0, gone.text[-3000:]
    ec2 = aws("ec2")
    assert not ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.42.0.0/16"]}])["Vpcs"]
    assert not aws("eks").list_clusters()["clusters"]
    assert not aws("s3").list_buckets()["Buckets"]
    assert not aws("iam").list_roles()["Roles"]
    assert not aws("logs").describe_log_groups()["logGroups"]
    assert not aws("ecr").describe_repositories()["repositories"]
    assert not aws("efs").describe_file_systems()["FileSystems"]
    assert not ec2.describe_launch_templates()["LaunchTemplates"]
    assert not ec2.describe_addresses()["Addresses"]
    assert not [one for one in ec2.describe_vpn_connections()["VpnConnections"] if one["State"] != "deleted"]
    keys = [aws("kms").describe_key(KeyId=one["KeyId"])["KeyMetadata"] for one in aws("kms").list_keys()["Keys"]]
    assert {key["KeyState"] for key in keys if key["KeyManager"] == "CUSTOMER"} <= {"PendingDeletion"}
