"""What is in an AWS account, asked of its API, and what an environment's file says should be: the same, in one form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from typing import Any

from infra.cloud.cloud import REPOSITORIES
from infra.cloud.subnets import plan
from infra.environment import Environment

Aws = Callable[[str], Any]
"""boto3's client of a service."""

Holding = dict[str, Any]


def said_by(environment: Environment) -> Holding:
    """What the file says. Whatever an account has of its own, such as the default VPC, is not in it."""
    cloud = environment.cloud
    assert cloud is not None
    name, zones = cloud.cluster.name, plan(cloud.network.cidr, cloud.zones)
    return {
        "clusters": {name: (cloud.kubernetes_version, "ACTIVE")},
        "node groups": {
            group.name: {
                "sizes": {"minSize": group.min, "desiredSize": group.desired, "maxSize": group.max},
                "types": list(group.instance_types),
                "capacity": group.capacity.upper(),
            }
            for group in cloud.node_groups
        },
        "VPCs": [cloud.network.cidr],
        "subnets": sorted((zone.name, cidr) for zone in zones for cidr in (zone.public, zone.private)),
        "NAT": [(zone.name, zone.public) for zone in (zones[:1] if cloud.network.nat == "single" else zones)],
        "link": [(str(cloud.link.site_address), str(cloud.link.site_asn), str(cloud.link.cloud_asn))],
        "buckets": ["backups", "models"],
        "repositories": sorted(f"{name}/{one}" for one in REPOSITORIES),
        "keys": {f"alias/isthmus-{name}-{purpose}": "Enabled" for purpose in ("cluster", "data", "logs")},
        "other keys": set(),
        "budgets": {f"isthmus-{environment.name}": ("MONTHLY", float(cloud.budget.monthly_usd), "USD")},
    }


def found(aws: Aws) -> Holding:
    """What is there. A VPN connection's tunnels are not counted: the API here says two of any."""
    ec2, eks, kms = aws("ec2"), aws("eks"), aws("kms")
    clusters = [eks.describe_cluster(name=name)["cluster"] for name in eks.list_clusters()["clusters"]]
    subnets = {
        one["SubnetId"]: (one["AvailabilityZone"], IPv4Network(one["CidrBlock"]))
        for one in ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["false"]}])["Subnets"]
    }
    aliases = {one["AliasName"]: one.get("TargetKeyId") for one in kms.list_aliases()["Aliases"]}
    own = {name: key for name, key in aliases.items() if not name.startswith("alias/aws/")}
    states = {
        key["KeyId"]: key["KeyState"]
        for one in kms.list_keys()["Keys"]
        if (key := kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"])["KeyManager"] == "CUSTOMER"
    }
    account = aws("sts").get_caller_identity()["Account"]
    return {
        "clusters": {one["name"]: (one["version"], one["status"]) for one in clusters},
        "node groups": {
            file_name(one["nodegroupName"]): {
                "sizes": one["scalingConfig"],
                "types": one["instanceTypes"],
                "capacity": one["capacityType"],
            }
            for cluster in clusters
            for one in node_groups(eks, cluster["name"])
        },
        "VPCs": [IPv4Network(one["CidrBlock"]) for one in ec2.describe_vpcs()["Vpcs"] if not one["IsDefault"]],
        "subnets": sorted(subnets.values()),
        "NAT": sorted(subnets[one["SubnetId"]] for one in alive(ec2.describe_nat_gateways()["NatGateways"])),
        "link": list(_links(ec2)),
        "buckets": sorted(file_name(one["Name"]) for one in aws("s3").list_buckets()["Buckets"]),
        "repositories": sorted(one["repositoryName"] for one in aws("ecr").describe_repositories()["repositories"]),
        "keys": {name: states.get(key or "", "no key") for name, key in own.items()},
        # One that is to be deleted is there for a month more.
        "other keys": {key for key, state in states.items() if state != "PendingDeletion"} - {*own.values()},
        "budgets": {
            one["BudgetName"]: (one["TimeUnit"], float(one["BudgetLimit"]["Amount"]), one["BudgetLimit"]["Unit"])
            for one in aws("budgets").describe_budgets(AccountId=account)["Budgets"]
        },
    }


def node_groups(eks: Any, cluster: str) -> list[dict[str, Any]]:
    """Each as EKS describes it."""
    names = eks.list_nodegroups(clusterName=cluster)["nodegroups"]
    return [eks.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"] for name in names]


def node_group(eks: Any, cluster: str, name: str) -> dict[str, Any]:
    """The one that the file calls so."""
    (one,) = [one for one in node_groups(eks, cluster) if file_name(one["nodegroupName"]) == name]
    return one


def file_name(name: str) -> str:
    """Without the digits that the engine has put after it."""
    return name.rpartition("-")[0]


def alive(things: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is deleted is told of for a while more."""
    return [one for one in things if one["State"] not in ("deleted", "deleting")]


def _links(ec2: Any) -> Iterator[tuple[str, str, str]]:
    """Of each connection: the site's address and number, and the number of a network that is a VPC's."""
    sites = {one["CustomerGatewayId"]: one for one in ec2.describe_customer_gateways()["CustomerGateways"]}
    gateways = {one["VpnGatewayId"]: one for one in ec2.describe_vpn_gateways()["VpnGateways"]}
    for one in alive(ec2.describe_vpn_connections()["VpnConnections"]):
        site, gateway = sites[one["CustomerGatewayId"]], gateways[one["VpnGatewayId"]]
        if [vpc["State"] for vpc in gateway["VpcAttachments"]] == ["attached"]:
            yield site["IpAddress"], site["BgpAsn"], str(gateway["AmazonSideAsn"])
