"""Who may do what in the account: roles of the cluster, of its nodes, and of each workload; no long-lived keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi_aws import eks, iam

from infra.environment import Cloud

MANAGED = "arn:aws:iam::aws:policy"


def policy(*statements: dict[str, Any]) -> dict[str, Any]:
    """A policy document; AWS takes no other version."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(actions: Sequence[str], *resources: pulumi.Input[str]) -> dict[str, Any]:
    """A statement of exact actions on exact things."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


class Roles(pulumi.ComponentResource):
    """`cluster` and `node`, with what EKS asks for and no more: Cilium needs no right to make addresses."""

    cluster: iam.Role
    node: iam.Role
    attached: list[pulumi.Resource]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:cloud:Roles", name, None, opts)
        self.attached = []
        self.cluster = self._role("cluster", "eks.amazonaws.com", ["AmazonEKSClusterPolicy"])
        node = ["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"]
        self.node = self._role("node", "ec2.amazonaws.com", node)
        self.register_outputs({})

    def _role(self, name: str, service: str, policies: list[str]) -> iam.Role:
        child = pulumi.ResourceOptions(parent=self)
        trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        role = iam.Role(name, assume_role_policy=json.dumps(policy(trust)), opts=child)
        self.attached += [
            iam.RolePolicyAttachment(f"{name}-{one}", role=role.name, policy_arn=f"{MANAGED}/{one}", opts=child)
            for one in policies
        ]
        return role


class PodRole(pulumi.ComponentResource):
    """A role for the pods of one service account, which they get from EKS Pod Identity for an hour at a time.

    Pods that start before `association` is there never get it.
    """

    role: iam.Role
    association: eks.PodIdentityAssociation

    def __init__(
        self,
        name: str,
        *,
        cloud: Cloud,
        cluster: pulumi.Input[str],
        namespace: str,
        service_account: str,
        statements: Sequence[dict[str, Any]] = (),
        managed_policy: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("isthmus:cloud:PodRole", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "pods.eks.amazonaws.com"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": {
                "StringEquals": {
                    "aws:SourceAccount": cloud.account_id,
                    "aws:RequestTag/kubernetes-namespace": namespace,
                    "aws:RequestTag/kubernetes-service-account": service_account,
                }
            },
        }
        self.role = iam.Role(name, assume_role_policy=json.dumps(policy(trust)), opts=child)
        if statements:
            document = pulumi.Output.json_dumps(policy(*statements))
            iam.RolePolicy(name, role=self.role.id, policy=document, opts=child)
        if managed_policy:
            arn = f"{MANAGED}/{managed_policy}"
            iam.RolePolicyAttachment(name, role=self.role.name, policy_arn=arn, opts=child)
        self.association = eks.PodIdentityAssociation(
            name,
            cluster_name=cluster,
            namespace=namespace,
            service_account=service_account,
            role_arn=self.role.arn,
            opts=child,
        )
        self.register_outputs({})
