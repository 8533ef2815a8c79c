"""The nodes: one managed group for each entry of the environment file, in private subnets alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_aws import ec2, eks

from infra import nodes
from infra.cloud.provider import ENVIRONMENT_TAG
from infra.cloud.user_data import user_data
from infra.environment import Cloud, NodeGroup

CILIUM_TAINT: Final[eks.NodeGroupTaintArgsDict] = {
    "key": "node.cilium.io/agent-not-ready",
    "value": "true",
    "effect": "NO_EXECUTE",
}
"""Cilium's operator takes it from a node whose agent runs: no pod starts on a node without a network."""

EFFECTS: Final = {
    "NoSchedule": "NO_SCHEDULE",
    "PreferNoSchedule": "PREFER_NO_SCHEDULE",
    "NoExecute": "NO_EXECUTE",
}

AMI_TYPES: Final = {"none": "AL2023_x86_64_STANDARD", "nvidia": "AL2023_x86_64_NVIDIA"}


@dataclass(frozen=True, kw_only=True)
class NodeGroupsArgs:
    """`role` is the nodes' own, as an ARN; `subnets` by their zones; `needed` is what a node needs to join."""

    cloud: Cloud
    environment: str
    cluster: pulumi.Input[str]
    role: pulumi.Input[str]
    subnets: Mapping[str, ec2.Subnet]
    needed: Sequence[pulumi.Resource]


class NodeGroups(pulumi.ComponentResource):
    """`groups` by their names in the environment file; `for_any_pod` are those with nodes that any pod may go to."""

    groups: dict[str, eks.NodeGroup]
    for_any_pod: list[eks.NodeGroup]

    def __init__(self, name: str, args: NodeGroupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:cloud:NodeGroups", name, None, opts)
        self.groups = {group.name: self._group(args, group) for group in args.cloud.node_groups}
        open_to_all = [group for group in args.cloud.node_groups if group.desired and not nodes.taints(group)]
        # A lab may be told to have none.
        self.for_any_pod = [self.groups[group.name] for group in open_to_all or args.cloud.node_groups]
        self.register_outputs({})

    def _group(self, args: NodeGroupsArgs, group: NodeGroup) -> eks.NodeGroup:
        """Named by the engine: of a fixed name there cannot be two, and what is replaced would be deleted first."""
        template = self._template(args, group)
        return eks.NodeGroup(
            group.name,
            cluster_name=args.cluster,
            node_role_arn=args.role,
            subnet_ids=[args.subnets[zone].id for zone in args.cloud.zones_of(group)],
            version=args.cloud.kubernetes_version,
            ami_type=AMI_TYPES[group.accelerator],
            capacity_type=group.capacity.upper(),
            instance_types=list(group.instance_types),
            launch_template=eks.NodeGroupLaunchTemplateArgs(id=template.id, version=template.latest_version.apply(str)),
            scaling_config={"min_size": group.min, "desired_size": group.desired, "max_size": group.max},
            # A third at a time, pods moved within their disruption budgets.
            update_config={"max_unavailable_percentage": 33},
            labels=nodes.labels(group),
            taints=[CILIUM_TAINT, *map(_taint, nodes.taints(group))],
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.needed),
        )

    def _template(self, args: NodeGroupsArgs, group: NodeGroup) -> ec2.LaunchTemplate:
        tags = {"Name": f"{args.cloud.cluster.name}-{group.name}", ENVIRONMENT_TAG: args.environment}
        return ec2.LaunchTemplate(
            group.name,
            update_default_version=True,
            # Sessions alone, and none for pods: one hop ends at the node.
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 1,
            },
            block_device_mappings=[
                {
                    "device_name": "/dev/xvda",
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": group.disk_gib,
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            # The provider's default tags reach the template, not what is launched from it.
            tag_specifications=[{"resource_type": kind, "tags": tags} for kind in ("instance", "volume")],
            user_data=user_data(),
            opts=pulumi.ResourceOptions(parent=self),
        )


def _taint(text: str) -> eks.NodeGroupTaintArgsDict:
    """gpu=true:NoSchedule as EKS writes it."""
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "value": value, "effect": EFFECTS[effect]}
