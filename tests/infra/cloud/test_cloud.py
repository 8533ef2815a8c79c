"""What is promised of the cloud half, said as sentences and held against everything that it registers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest

from infra.cloud.node_groups import CILIUM_TAINT
from tests.infra.cloud.conftest import ENVIRONMENTS, Recorded, register
from tests.infra.recording import is_secret


def statements(cloud: Recorded) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, statement) of every policy document."""
    for resource in cloud.resources:
        for key in ("policy", "assumeRolePolicy"):
            text = resource.inputs.get(key)
            if isinstance(text, str):
                for statement in json.loads(text).get("Statement", []):
                    yield f"{resource.kind} {resource.name}", statement


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_files_cover_both_ways_of_every_choice() -> None:
    clouds = [one.cloud for one in ENVIRONMENTS if one.cloud]
    assert {cloud.network.nat for cloud in clouds} == {"single", "per_zone"}
    assert {bool(cloud.public_access_cidrs) for cloud in clouds} == {True, False}
    assert {cloud.deletable for cloud in clouds} == {True, False}


def test_nodes_and_api_are_in_private_subnets_only(cloud: Recorded) -> None:
    private = {f"{one.name}-id" for one in cloud.of("ec2/subnet:Subnet") if one.name.startswith("private-")}
    assert len(private) == 3
    settings = cloud.environment.cloud
    assert settings is not None
    for group in settings.node_groups:
        own = {f"private-{zone[-1]}-id" for zone in settings.zones_of(group)}
        assert own <= private
        assert set(cloud.one("eks/nodeGroup:NodeGroup", group.name).inputs["subnetIds"]) == own
    assert set(cloud.one("eks/cluster:Cluster").inputs["vpcConfig"]["subnetIds"]) == private


def test_no_subnet_gives_public_addresses(cloud: Recorded) -> None:
    assert not any(one.inputs["mapPublicIpOnLaunch"] for one in cloud.of("ec2/subnet:Subnet"))


def test_subnets_carry_the_tags_by_which_their_cluster_and_load_balancers_find_them(cloud: Recorded) -> None:
    settings = cloud.environment.cloud
    assert settings is not None
    for subnet in cloud.of("ec2/subnet:Subnet"):
        role = "internal-elb" if subnet.name.startswith("private-") else "elb"
        tags = {key: value for key, value in subnet.inputs["tags"].items() if key.startswith("kubernetes.io/")}
        assert tags == {f"kubernetes.io/cluster/{settings.cluster.name}": "shared", f"kubernetes.io/role/{role}": "1"}


def test_each_private_subnet_leads_out_through_nat_of_its_own_zone_or_the_single_one(cloud: Recorded) -> None:
    settings = cloud.environment.cloud
    assert settings is not None
    out = {one.name: one.inputs["natGatewayId"] for one in cloud.of("ec2/route:Route") if "natGatewayId" in one.inputs}
    zones = [zone[-1] for zone in settings.zones]
    nat = dict.fromkeys(zones, zones[0]) if settings.network.nat == "single" else {zone: zone for zone in zones}
    assert out == {f"private-{zone}": f"nat-{nat[zone]}-id" for zone in zones}
    tables = {one.name: one.inputs for one in cloud.of("ec2/routeTableAssociation:RouteTableAssociation")}
    for zone in zones:
        joined = tables[f"private-{zone}"]
        assert (joined["subnetId"], joined["routeTableId"]) == (f"private-{zone}-id", f"private-{zone}-id")


def test_the_default_security_group_lets_nothing_through(cloud: Recorded) -> None:
    default = cloud.one("ec2/defaultSecurityGroup:DefaultSecurityGroup").inputs
    assert (default["ingress"], default["egress"]) == ([], [])


def test_no_rule_lets_the_internet_in(cloud: Recorded) -> None:
    rules = cloud.of("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert rules
    assert all(IPv4Network(rule.inputs["cidrIpv4"]).is_private for rule in rules)


def test_the_api_is_public_only_for_an_allow_list(cloud: Recorded) -> None:
    settings, config = cloud.environment.cloud, cloud.one("eks/cluster:Cluster").inputs["vpcConfig"]
    assert settings is not None
    assert config["endpointPrivateAccess"] is True
    assert config["endpointPublicAccess"] is bool(settings.public_access_cidrs)
    assert config.get("publicAccessCidrs", []) == [str(one) for one in settings.public_access_cidrs]
    assert "0.0.0.0/0" not in config.get("publicAccessCidrs", [])


def test_the_cluster_encrypts_its_secrets_and_logs_everything(cloud: Recorded) -> None:
    cluster = cloud.one("eks/cluster:Cluster").inputs
    assert cluster["encryptionConfig"]["resources"] == ["secrets"]
    assert len(cluster["enabledClusterLogTypes"]) == 5


def test_only_the_platform_team_administers_the_cluster(cloud: Recorded) -> None:
    settings, access = cloud.environment.cloud, cloud.one("eks/cluster:Cluster").inputs["accessConfig"]
    assert settings is not None
    assert access == {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False}
    entries = {one.inputs["principalArn"] for one in cloud.of("eks/accessEntry:AccessEntry")}
    assert entries == set(settings.platform_team_roles)


def test_no_default_network_add_on_comes_and_nodes_wait_for_cilium(cloud: Recorded) -> None:
    assert cloud.one("eks/cluster:Cluster").inputs["bootstrapSelfManagedAddons"] is False
    names = {one.inputs["addonName"] for one in cloud.of("eks/addon:Addon")}
    assert not names & {"vpc-cni", "kube-proxy"}
    for group in cloud.of("eks/nodeGroup:NodeGroup"):
        assert CILIUM_TAINT in group.inputs["taints"], group.name


def test_every_add_on_has_the_version_of_the_file(cloud: Recorded) -> None:
    settings = cloud.environment.cloud
    assert settings is not None
    pinned = {one.inputs["addonName"]: one.inputs["addonVersion"] for one in cloud.of("eks/addon:Addon")}
    shared = settings.addons.aws_efs_csi_driver
    assert pinned == {
        "coredns": settings.addons.coredns,
        "aws-ebs-csi-driver": settings.addons.aws_ebs_csi_driver,
        "eks-pod-identity-agent": settings.addons.eks_pod_identity_agent,
        "metrics-server": settings.addons.metrics_server,
        **({"aws-efs-csi-driver": shared} if shared else {}),
    }


def test_gpu_nodes_take_only_what_asks_for_a_gpu_and_there_may_be_none(cloud: Recorded) -> None:
    settings = cloud.environment.cloud
    assert settings is not None
    for group in (one for one in settings.node_groups if one.accelerator == "nvidia"):
        made = cloud.one("eks/nodeGroup:NodeGroup", group.name).inputs
        assert made["amiType"] == "AL2023_x86_64_NVIDIA"
        assert any(taint["key"] == "nvidia.com/gpu" for taint in made["taints"])
        assert made["scalingConfig"]["minSize"] == 0


def test_groups_have_the_sizes_and_the_capacity_of_the_file(cloud: Recorded) -> None:
    settings = cloud.environment.cloud
    assert settings is not None
    for group in settings.node_groups:
        made = cloud.one("eks/nodeGroup:NodeGroup", group.name).inputs
        assert made["scalingConfig"] == {"minSize": group.min, "desiredSize": group.desired, "maxSize": group.max}
        assert made["capacityType"] == {"spot": "SPOT", "on_demand": "ON_DEMAND"}[group.capacity]
        assert made["instanceTypes"] == list(group.instance_types)


def test_an_update_takes_at_most_a_third_of_a_groups_nodes_at_a_time(cloud: Recorded) -> None:
    groups = cloud.of("eks/nodeGroup:NodeGroup")
    assert groups
    assert all(one.inputs["updateConfig"] == {"maxUnavailablePercentage": 33} for one in groups)


def test_instances_ask_for_their_metadata_with_a_session_and_pods_cannot(cloud: Recorded) -> None:
    templates = cloud.of("ec2/launchTemplate:LaunchTemplate")
    assert templates
    for template in templates:
        options = template.inputs["metadataOptions"]
        assert (options["httpTokens"], options["httpPutResponseHopLimit"]) == ("required", 1)


def test_everything_that_keeps_data_is_encrypted(cloud: Recorded) -> None:
    for template in cloud.of("ec2/launchTemplate:LaunchTemplate"):
        volumes = [device["ebs"] for device in template.inputs["blockDeviceMappings"]]
        assert all((volume["encrypted"], volume["volumeType"]) == ("true", "gp3") for volume in volumes)
    buckets = {one.name for one in cloud.of("s3/bucket:Bucket")}
    kind = "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    assert {one.name for one in cloud.of(kind)} == buckets == {"models", "backups"}
    for one in cloud.of(kind):
        assert one.inputs["rules"][0]["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == "aws:kms"
    assert all(one.inputs["kmsKeyId"] for one in cloud.of("cloudwatch/logGroup:LogGroup"))
    for one in cloud.of("ecr/repository:Repository"):
        assert one.inputs["encryptionConfigurations"][0]["encryptionType"] == "KMS"
    assert all(one.inputs["enableKeyRotation"] for one in cloud.of("kms/key:Key"))


def test_buckets_are_versioned_closed_to_the_public_and_to_plain_http(cloud: Recorded) -> None:
    buckets = {one.name for one in cloud.of("s3/bucket:Bucket")}
    versioned = cloud.of("s3/bucketVersioning:BucketVersioning")
    assert {one.name for one in versioned if one.inputs["versioningConfiguration"]["status"] == "Enabled"} == buckets
    closed = cloud.of("s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
    flags = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    assert {one.name for one in closed if all(one.inputs[flag] is True for flag in flags)} == buckets
    policies = cloud.of("s3/bucketPolicy:BucketPolicy")
    refuse = {"Bool": {"aws:SecureTransport": "false"}}
    for one in policies:
        statement = json.loads(one.inputs["policy"])["Statement"][0]
        assert (statement["Effect"], statement["Condition"]) == ("Deny", refuse)
    assert {one.name for one in policies} == buckets


def test_old_versions_of_objects_go_in_the_end_and_objects_never_do(cloud: Recorded) -> None:
    made = cloud.of("s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")
    assert {one.inputs["bucket"] for one in made} == {one.name for one in cloud.of("s3/bucket:Bucket")}
    for one in made:
        (rule,) = one.inputs["rules"]
        assert (rule["status"], rule["filter"]) == ("Enabled", {}), "of all objects"
        assert rule["noncurrentVersionExpiration"] == {"noncurrentDays": 90}
        assert rule["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
        assert not rule.keys() & {"expiration", "transitions"}


def test_every_repository_keeps_its_latest_images_and_no_more(cloud: Recorded) -> None:
    made = {
        one.inputs["repository"]: json.loads(one.inputs["policy"])
        for one in cloud.of("ecr/lifecyclePolicy:LifecyclePolicy")
    }
    assert made.keys() == {one.inputs["name"] for one in cloud.of("ecr/repository:Repository")}
    for policy in made.values():
        (rule,) = policy["rules"]
        assert rule["action"] == {"type": "expire"}
        kept = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 30}
        assert rule["selection"] == kept


def test_images_never_move_and_are_scanned(cloud: Recorded) -> None:
    for one in cloud.of("ecr/repository:Repository"):
        assert one.inputs["imageTagMutability"] == "IMMUTABLE"
        assert one.inputs["imageScanningConfiguration"] == {"scanOnPush": True}


def test_no_policy_allows_everything_without_a_condition(cloud: Recorded) -> None:
    found = 0
    for where, statement in statements(cloud):
        found += 1
        if statement["Effect"] != "Allow" or "Condition" in statement:
            continue
        if where.startswith("Key "):
            # A key's owner is its account; in a key's policy * is that key alone.
            assert statement["Principal"]["AWS"].endswith(":root"), where
            continue
        assert not any(action in ("*", "s3:*", "kms:*", "ec2:*") for action in listed(statement["Action"])), where
        assert "*" not in listed(statement.get("Resource", [])), where
        assert statement.get("Principal") not in ("*", {"AWS": "*"}), where
    assert found > 10


def test_pods_get_their_rights_by_their_service_account_and_nobody_has_a_key(cloud: Recorded) -> None:
    assert not cloud.of("iam/accessKey:AccessKey") and not cloud.of("iam/user:User")
    pods = cloud.of("eks/podIdentityAssociation:PodIdentityAssociation")
    expected = {"training", "inference", "replication", "backup", "ebs-csi"}
    assert {one.name for one in pods} == expected | ({"efs-csi"} if cloud.of("efs/fileSystem:FileSystem") else set())
    for one in pods:
        trust = json.loads(cloud.one("iam/role:Role", one.name).inputs["assumeRolePolicy"])["Statement"][0]
        bound = trust["Condition"]["StringEquals"]
        assert bound["aws:RequestTag/kubernetes-namespace"] == one.inputs["namespace"]
        assert bound["aws:RequestTag/kubernetes-service-account"] == one.inputs["serviceAccount"]


def test_serving_reads_models_and_cannot_write_them(cloud: Recorded) -> None:
    text = cloud.one("iam/rolePolicy:RolePolicy", "inference").inputs["policy"]
    assert "s3:GetObject" in text
    assert "Put" not in text and "GenerateDataKey" not in text


def test_a_file_system_is_there_when_its_add_on_is_encrypted_and_in_every_zone(cloud: Recorded) -> None:
    settings = cloud.environment.cloud
    assert settings is not None
    found = cloud.of("efs/fileSystem:FileSystem")
    assert bool(found) == bool(settings.addons.aws_efs_csi_driver)
    assert bool(found) == ("aws-efs-csi-driver" in {one.name for one in cloud.of("eks/addon:Addon")})
    for one in found:
        assert one.inputs["encrypted"] is True
        assert one.inputs["kmsKeyId"] == "arn:aws:::data"
        assert len(cloud.of("efs/mountTarget:MountTarget")) == len(settings.zones)


def test_volumes_are_encrypted_with_a_grant_that_only_aws_itself_can_use(cloud: Recorded) -> None:
    said = json.loads(cloud.one("iam/rolePolicy:RolePolicy", "ebs-csi").inputs["policy"])["Statement"]
    (grants,) = [one for one in said if "kms:CreateGrant" in one["Action"]]
    assert grants["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    assert {resource for one in said for resource in one["Resource"]} == {"arn:aws:::data"}


def test_both_tunnels_speak_ikev2_with_strong_ciphers_alone(cloud: Recorded) -> None:
    connection = cloud.one("ec2/vpnConnection:VpnConnection").inputs
    for number in (1, 2):
        assert connection[f"tunnel{number}IkeVersions"] == ["ikev2"]
        assert connection[f"tunnel{number}Phase1EncryptionAlgorithms"] == ["AES256-GCM-16"]
        assert connection[f"tunnel{number}Phase2EncryptionAlgorithms"] == ["AES256-GCM-16"]
        assert min(connection[f"tunnel{number}Phase1DhGroupNumbers"]) >= 19
        assert connection[f"tunnel{number}DpdTimeoutAction"] == "restart"


def test_private_subnets_learn_the_way_to_the_site(cloud: Recorded) -> None:
    learnt = cloud.of("ec2/vpnGatewayRoutePropagation:VpnGatewayRoutePropagation")
    assert {one.inputs["routeTableId"] for one in learnt} == {f"private-{zone}-id" for zone in "abc"}


def test_everything_carries_the_environment_and_stays_in_its_account(cloud: Recorded) -> None:
    settings = cloud.environment.cloud
    assert settings is not None
    provider = next(one for one in cloud.resources if one.type == "pulumi:providers:aws").inputs
    if settings.provisioner == "aws":
        assert json.loads(provider["allowedAccountIds"]) == [settings.account_id]
        assert not provider.keys() & {"accessKey", "secretKey", "endpoints"}
    assert json.loads(provider["defaultTags"])["tags"]["isthmus:environment"] == cloud.environment.name
    assert provider["region"] == settings.region
    for template in cloud.of("ec2/launchTemplate:LaunchTemplate"):
        launched = {one["resourceType"]: one["tags"] for one in template.inputs["tagSpecifications"]}
        assert {tags["isthmus:environment"] for tags in launched.values()} == {cloud.environment.name}
        assert launched.keys() == {"instance", "volume"}


def test_every_resource_goes_to_that_provider(cloud: Recorded) -> None:
    ours = [one for one in cloud.resources if one.type.startswith("aws:")]
    assert len(ours) > 80
    for one in ours:
        assert cloud.options[one.kind, one.name].provider == "aws", f"{one.type} {one.name}"


def test_what_keeps_data_is_protected_unless_the_file_lets_it_go(cloud: Recorded) -> None:
    settings = cloud.environment.cloud
    assert settings is not None
    keeping = [
        *cloud.of("s3/bucket:Bucket"),
        *cloud.of("efs/fileSystem:FileSystem"),
        *cloud.of("kms/key:Key"),
        cloud.one("eks/cluster:Cluster"),
    ]
    assert {cloud.options[one.kind, one.name].protect for one in keeping} == {not settings.deletable}
    assert {one.inputs["forceDestroy"] for one in cloud.of("s3/bucket:Bucket")} == {settings.deletable}


def test_the_budget_warns_before_and_at_its_end(cloud: Recorded) -> None:
    settings, budget = cloud.environment.cloud, cloud.one("budgets/budget:Budget").inputs
    assert settings is not None
    assert budget["limitAmount"] == str(settings.budget.monthly_usd)
    assert {(one["notificationType"], one["threshold"]) for one in budget["notifications"]} == {
        ("ACTUAL", 80),
        ("FORECASTED", 100),
    }
    assert "costFilters" not in budget, "a tag counts nothing before somebody activates it for the whole organization"


@pytest.mark.parametrize("one", ENVIRONMENTS, ids=lambda one: one.name)
def test_names_do_not_depend_on_the_environment(one) -> None:
    names = [(resource.type, resource.name) for resource in register(one).resources]
    assert len(set(names)) == len(names)
    assert not [name for _, name in names if one.name in name]


def test_the_kubeconfig_and_the_tunnels_keys_are_secret(cloud: Recorded) -> None:
    plain = [one for one in cloud.resources if not one.type.startswith("pulumi:providers:")]
    assert not any(is_secret(value) for one in plain for value in one.inputs.values())
