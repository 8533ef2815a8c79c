"""What `make up` needs of whoever runs it before Amazon's Kubernetes lets it in; asked before anything is made."""

from __future__ import annotations

import shutil
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.environment import Cloud
from ops.console import Failure


def ensure(cloud: Cloud, **client: Any) -> None:
    """Failure unless tokens for the cluster can be had, by one who may use it, and EKS has its version.

    `client`: for boto3's client.
    """
    if shutil.which("aws") is None:
        raise Failure(
            "aws is not installed: the kubeconfig of the cloud half asks it for a token at each use",
            fix="install version 2 of the AWS CLI",
        )
    try:
        arn = boto3.client("sts", region_name=cloud.region, **client).get_caller_identity()["Arn"]
    except (BotoCoreError, ClientError) as fault:
        raise Failure(
            f"AWS does not know you: {fault}", fix="log in, so that `aws sts get-caller-identity` works"
        ) from None
    if role(arn) not in {role(one) for one in cloud.platform_team_roles}:
        team = ", ".join(cloud.platform_team_roles)
        raise Failure(
            f"you are {arn}, and the cluster's API lets in {team} alone (cloud.platform_team_roles)",
            fix="log in with that role, or have yours added to the file",
        )
    try:
        pages = boto3.client("eks", region_name=cloud.region, **client).get_paginator("describe_cluster_versions")
        offered = {one["clusterVersion"] for page in pages.paginate() for one in page["clusterVersions"]}
    except (BotoCoreError, ClientError) as fault:
        raise Failure(
            f"EKS does not say which versions of Kubernetes it offers: {fault}",
            fix="have eks:DescribeClusterVersions allowed to your role",
        ) from None
    if cloud.kubernetes_version not in offered:
        raise Failure(
            f"cloud.kubernetes_version is {cloud.kubernetes_version}, which EKS does not offer in {cloud.region}",
            fix=f"write one of {', '.join(sorted(offered))}",
        )


def role(arn: str) -> tuple[str, str] | None:
    """(account, name) of a role, or of the role that a session is of; None for anybody else."""
    _, _, service, _, account, what = arn.split(":", 5)
    kind, *path = what.split("/")
    match service, kind:
        case "iam", "role":
            return account, path[-1]
        case "sts", "assumed-role":
            return account, path[0]
    return None
