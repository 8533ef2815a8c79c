"""The cluster's kinds. What the lab's API does not know of them is kept, and told, by provider.py."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import boto3

from infra.providers.offline.aws.kind import Client, Kind, NotActive, Properties, given

PATIENCE_S: Final = 1800.0
"""Longest that AWS takes over a cluster or a node group."""

PAUSE_S: Final = 5.0

GONE: Final = frozenset({"ResourceNotFoundException"})


def _await(what: str, look: Any) -> None:
    """Until `look` says ACTIVE. Raises NotActive."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := look())["status"] != "ACTIVE":
        if "FAILED" in found["status"] or time.monotonic() > deadline:
            raise NotActive(f"{what} is {found['status']}: {found.get('health') or 'no reason given'}")
        time.sleep(PAUSE_S)


def _tag(aws: Client, arn: str, tags: Mapping[str, str], removed: list[str]) -> None:
    if tags:
        aws.tag_resource(resourceArn=arn, tags=dict(tags))
    if removed:
        aws.untag_resource(resourceArn=arn, tagKeys=removed)


def _vpc_config(inputs: Properties) -> dict[str, Any]:
    config = inputs["vpcConfig"]
    return given(
        subnetIds=config["subnetIds"],
        endpointPrivateAccess=config.get("endpointPrivateAccess"),
        endpointPublicAccess=config.get("endpointPublicAccess"),
        publicAccessCidrs=config.get("publicAccessCidrs"),
    )


def _logging(inputs: Properties) -> dict[str, Any]:
    return {"clusterLogging": [{"types": inputs.get("enabledClusterLogTypes") or [], "enabled": True}]}


def _make_cluster(aws: Client, inputs: Properties) -> str:
    network, access = inputs["kubernetesNetworkConfig"], inputs["accessConfig"]
    encryption = inputs["encryptionConfig"]
    aws.create_cluster(
        name=inputs["name"],
        version=inputs["version"],
        roleArn=inputs["roleArn"],
        resourcesVpcConfig=_vpc_config(inputs),
        kubernetesNetworkConfig={"ipFamily": network["ipFamily"], "serviceIpv4Cidr": network["serviceIpv4Cidr"]},
        logging=_logging(inputs),
        encryptionConfig=[
            {"resources": encryption["resources"], "provider": {"keyArn": encryption["provider"]["keyArn"]}}
        ],
        accessConfig={
            "authenticationMode": access["authenticationMode"],
            "bootstrapClusterCreatorAdminPermissions": access["bootstrapClusterCreatorAdminPermissions"],
        },
        bootstrapSelfManagedAddons=inputs["bootstrapSelfManagedAddons"],
        upgradePolicy={"supportType": inputs["upgradePolicy"]["supportType"]},
        deletionProtection=inputs["deletionProtection"],
        tags=inputs.get("tagsAll") or {},
    )
    return inputs["name"]


def _ec2(aws: Client) -> Client:
    """The lab's EC2, beside its EKS."""
    there = {"endpoint_url": aws.meta.endpoint_url, "region_name": aws.meta.region_name}
    return boto3.client("ec2", **there, aws_access_key_id="lab", aws_secret_access_key="lab")


def _own_group(aws: Client, cluster: str, config: Properties) -> str:
    """The security group that EKS makes for each cluster, and the lab's EKS does not."""
    if known := config.get("clusterSecurityGroupId"):
        return known
    ec2, name = _ec2(aws), f"eks-cluster-sg-{cluster}"
    vpc = ec2.describe_subnets(SubnetIds=config["subnetIds"][:1])["Subnets"][0]["VpcId"]
    filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [name]}]
    for group in ec2.describe_security_groups(Filters=filters)["SecurityGroups"]:
        return group["GroupId"]
    return ec2.create_security_group(GroupName=name, Description="EKS created security group", VpcId=vpc)["GroupId"]


def _settle_cluster(aws: Client, rid: str, _inputs: Properties) -> None:
    _await(f"cluster {rid}", lambda: aws.describe_cluster(name=rid)["cluster"])


def _look_at_cluster(aws: Client, rid: str, state: Properties) -> Properties:
    found = aws.describe_cluster(name=rid)["cluster"]
    known, config = state.get("vpcConfig") or {}, found["resourcesVpcConfig"]
    seen = given(
        # moto forgets what a later change of the network does not name
        clusterSecurityGroupId=_own_group(aws, rid, {**known, **config}),
        endpointPublicAccess=config.get("endpointPublicAccess"),
        vpcId=config.get("vpcId"),
    )
    return {
        "arn": found["arn"],
        "version": found["version"],
        "endpoint": found["endpoint"],
        "certificateAuthority": {"data": found["certificateAuthority"]["data"]},
        "identities": [{"oidcs": [{"issuer": found["identity"]["oidc"]["issuer"]}]}],
        "vpcConfig": {**known, **seen},
        "tagsAll": found.get("tags") or {},
    }


def _change_cluster(aws: Client, rid: str, olds: Properties, news: Properties) -> None:
    """One thing a call, each awaited: EKS does one change at a time."""

    if olds.get("version") != news["version"]:
        aws.update_cluster_version(name=rid, version=news["version"])
        _settle_cluster(aws, rid, news)
    if olds.get("enabledClusterLogTypes") != news.get("enabledClusterLogTypes"):
        aws.update_cluster_config(name=rid, logging=_logging(news))
        _settle_cluster(aws, rid, news)
    before, after = olds.get("vpcConfig") or {}, _vpc_config(news)
    del after["subnetIds"]
    if any(before.get(key) != value for key, value in after.items()):
        aws.update_cluster_config(name=rid, resourcesVpcConfig=after)
        _settle_cluster(aws, rid, news)
    if olds.get("deletionProtection") != news["deletionProtection"]:
        aws.update_cluster_config(name=rid, deletionProtection=news["deletionProtection"])
        _settle_cluster(aws, rid, news)


def _size(inputs: Properties) -> dict[str, Any]:
    size = inputs["scalingConfig"]
    return {"minSize": size["minSize"], "maxSize": size["maxSize"], "desiredSize": size["desiredSize"]}


def _taints(inputs: Properties) -> list[dict[str, Any]]:
    return [given(key=t["key"], value=t.get("value"), effect=t["effect"]) for t in inputs.get("taints") or []]


def _template(inputs: Properties) -> dict[str, str]:
    template = inputs["launchTemplate"]
    return {"id": template["id"], "version": str(template["version"])}


def _make_group(aws: Client, inputs: Properties) -> str:
    cluster, name = inputs["clusterName"], inputs["nodeGroupName"]
    aws.create_nodegroup(
        clusterName=cluster,
        nodegroupName=name,
        nodeRole=inputs["nodeRoleArn"],
        subnets=inputs["subnetIds"],
        scalingConfig=_size(inputs),
        amiType=inputs["amiType"],
        capacityType=inputs["capacityType"],
        instanceTypes=inputs["instanceTypes"],
        launchTemplate=_template(inputs),
        version=inputs["version"],
        updateConfig={"maxUnavailablePercentage": inputs["updateConfig"]["maxUnavailablePercentage"]},
        labels=inputs.get("labels") or {},
        taints=_taints(inputs),
        tags=inputs.get("tagsAll") or {},
    )
    return f"{cluster}:{name}"


def _settle_group(aws: Client, rid: str, _inputs: Properties) -> None:
    _await(f"node group {rid}", lambda: _group(aws, *rid.split(":")))


def _group(aws: Client, cluster: str, name: str) -> Any:
    return aws.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"]


def _look_at_group(aws: Client, rid: str, state: Properties) -> Properties:
    found = _group(aws, *rid.split(":"))
    size = found["scalingConfig"]
    return {
        "arn": found["nodegroupArn"],
        "scalingConfig": {key: size[key] for key in ("minSize", "maxSize", "desiredSize")},
        "labels": found.get("labels") or {},
        "status": found["status"],
        "tagsAll": found.get("tags") or state.get("tagsAll") or {},
    }


def _change_group(aws: Client, rid: str, olds: Properties, news: Properties) -> None:
    cluster, name = rid.split(":")
    there = {"clusterName": cluster, "nodegroupName": name}
    before, after = olds.get("labels") or {}, news.get("labels") or {}
    old_taints, new_taints = _taints(olds), _taints(news)
    keep = {(taint["key"], taint["effect"]) for taint in new_taints}
    aws.update_nodegroup_config(
        **there,
        scalingConfig=_size(news),
        labels={"addOrUpdateLabels": after, "removeLabels": sorted(before.keys() - after.keys())},
        taints={
            "addOrUpdateTaints": new_taints,
            "removeTaints": [taint for taint in old_taints if (taint["key"], taint["effect"]) not in keep],
        },
    )
    _settle_group(aws, rid, news)
    if olds.get("version") != news["version"] or _template(olds) != _template(news):
        aws.update_nodegroup_version(**there, version=news["version"], launchTemplate=_template(news))
        _settle_group(aws, rid, news)


def _remove_group(aws: Client, rid: str, _state: Properties) -> None:
    cluster, name = rid.split(":")
    aws.delete_nodegroup(clusterName=cluster, nodegroupName=name)
    aws.get_waiter("nodegroup_deleted").wait(
        clusterName=cluster, nodegroupName=name, WaiterConfig={"Delay": 5, "MaxAttempts": 360}
    )


def _remove_cluster(aws: Client, rid: str, state: Properties) -> None:
    try:
        aws.delete_cluster(name=rid)
        aws.get_waiter("cluster_deleted").wait(name=rid, WaiterConfig={"Delay": 5, "MaxAttempts": 360})
    except aws.exceptions.ResourceNotFoundException:
        pass  # by an earlier run, which was cut off before the group's end
    group = (state.get("vpcConfig") or {}).get("clusterSecurityGroupId")
    if group:
        _ec2(aws).delete_security_group(GroupId=group)


KINDS: Final = (
    Kind(
        token="aws:eks/cluster:Cluster",
        service="eks",
        create=_make_cluster,
        read=_look_at_cluster,
        update=_change_cluster,
        delete=_remove_cluster,
        settle=_settle_cluster,
        replace=frozenset(
            {
                *("name", "roleArn", "kubernetesNetworkConfig", "encryptionConfig", "bootstrapSelfManagedAddons"),
                *("accessConfig", "vpcConfig.subnetIds"),
            }
        ),
        name="name",
        gone=GONE,
        tags=_tag,
    ),
    Kind(
        token="aws:eks/nodeGroup:NodeGroup",
        service="eks",
        create=_make_group,
        read=_look_at_group,
        update=_change_group,
        delete=_remove_group,
        settle=_settle_group,
        replace=frozenset(
            {
                *("clusterName", "nodeGroupName", "nodeRoleArn", "subnetIds", "amiType", "capacityType"),
                *("instanceTypes", "launchTemplate.id"),
            }
        ),
        name="nodeGroupName",
        gone=GONE,
        tags=_tag,
    ),
    Kind(
        token="aws:eks/addon:Addon",
        service="eks",
        exercised=False,
        create=lambda aws, i: (
            aws.create_addon(
                clusterName=i["clusterName"],
                addonName=i["addonName"],
                addonVersion=i["addonVersion"],
                resolveConflicts=i["resolveConflictsOnCreate"],
                tags=i.get("tagsAll") or {},
                **given(configurationValues=i.get("configurationValues")),
            )
            and f"{i['clusterName']}:{i['addonName']}"
        ),
        read=lambda aws, rid, _: {
            "addonVersion": aws.describe_addon(clusterName=rid.split(":")[0], addonName=rid.split(":")[1])["addon"][
                "addonVersion"
            ]
        },
        update=lambda aws, rid, _, news: aws.update_addon(
            clusterName=rid.split(":")[0],
            addonName=rid.split(":")[1],
            addonVersion=news["addonVersion"],
            resolveConflicts=news["resolveConflictsOnUpdate"],
            **given(configurationValues=news.get("configurationValues")),
        ),
        delete=lambda aws, rid, _: aws.delete_addon(clusterName=rid.split(":")[0], addonName=rid.split(":")[1]),
        replace=frozenset({"clusterName", "addonName"}),
        gone=GONE,
    ),
    Kind(
        token="aws:eks/accessEntry:AccessEntry",
        service="eks",
        exercised=False,
        create=lambda aws, i: (
            aws.create_access_entry(
                clusterName=i["clusterName"],
                principalArn=i["principalArn"],
                type=i["type"],
                tags=i.get("tagsAll") or {},
            )
            and f"{i['clusterName']}:{i['principalArn']}"
        ),
        read=lambda aws, _rid, state: given(
            type=aws.describe_access_entry(clusterName=state["clusterName"], principalArn=state["principalArn"])[
                "accessEntry"
            ].get("type")
        ),
        delete=lambda aws, _rid, state: aws.delete_access_entry(
            clusterName=state["clusterName"], principalArn=state["principalArn"]
        ),
        replace=frozenset({"clusterName", "principalArn", "type"}),
        gone=GONE,
    ),
    Kind(
        token="aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
        service="eks",
        exercised=False,
        create=lambda aws, i: (
            aws.associate_access_policy(
                clusterName=i["clusterName"],
                principalArn=i["principalArn"],
                policyArn=i["policyArn"],
                accessScope={"type": i["accessScope"]["type"]},
            )
            and f"{i['clusterName']}#{i['principalArn']}#{i['policyArn']}"
        ),
        read=lambda *_: {},
        delete=lambda aws, _rid, state: aws.disassociate_access_policy(
            clusterName=state["clusterName"], principalArn=state["principalArn"], policyArn=state["policyArn"]
        ),
        replace=frozenset({"clusterName", "principalArn", "policyArn", "accessScope"}),
        gone=GONE,
    ),
    Kind(
        token="aws:eks/podIdentityAssociation:PodIdentityAssociation",
        service="eks",
        exercised=False,
        create=lambda aws, i: aws.create_pod_identity_association(
            clusterName=i["clusterName"],
            namespace=i["namespace"],
            serviceAccount=i["serviceAccount"],
            roleArn=i["roleArn"],
            tags=i.get("tagsAll") or {},
        )["association"]["associationId"],
        read=lambda aws, rid, state: {
            "roleArn": aws.describe_pod_identity_association(clusterName=state["clusterName"], associationId=rid)[
                "association"
            ]["roleArn"]
        },
        update=lambda aws, rid, _, news: aws.update_pod_identity_association(
            clusterName=news["clusterName"], associationId=rid, roleArn=news["roleArn"]
        ),
        delete=lambda aws, rid, state: aws.delete_pod_identity_association(
            clusterName=state["clusterName"], associationId=rid
        ),
        replace=frozenset({"clusterName", "namespace", "serviceAccount"}),
        gone=GONE,
    ),
)
