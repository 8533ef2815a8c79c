"""The cloud half as the rest of the program sees it: a cluster, stores, and the far end of the link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import ecr, eks

from infra.cloud import identity, images
from infra.cloud.addons import Addons
from infra.cloud.budget import budget
from infra.cloud.eks import Eks, EksArgs
from infra.cloud.endpoints import Endpoints
from infra.cloud.file_system import FileSystem
from infra.cloud.keys import Keys
from infra.cloud.link import Link
from infra.cloud.network import Vpc, VpcArgs
from infra.cloud.node_groups import NodeGroups, NodeGroupsArgs
from infra.cloud.provider import provider
from infra.cloud.storage import Bucket, Repository
from infra.environment import Cloud as Settings
from infra.environment import Environment
from infra.naming import WORKLOADS_NAMESPACE

REPOSITORIES = ("inference", "replication", "training")
"""Images whose repositories are made wherever there is a cloud half; those of the platform are in images.py."""


@dataclass(frozen=True, kw_only=True)
class CloudArgs:
    """Of a lab: `endpoint` answers AWS's API, and `kubeconfig` leads to the cluster that runs what EKS would.

    `way_in`: makes the rest of the link, and says what of it has to be done before the cluster's API is reached.
    """

    environment: Environment
    way_in: Callable[[Link], Sequence[pulumi.Resource]] | None = None
    endpoint: pulumi.Input[str] | None = None
    kubeconfig: pulumi.Input[str] | None = None


class Cloud(pulumi.ComponentResource):
    """Network, cluster, nodes, stores and link. `kubeconfig` asks AWS for a token at each use, and holds none."""

    cluster: eks.Cluster
    open: list[pulumi.Resource]
    """Done once the platform team's roles may use the cluster's API."""
    addons: Addons
    kubeconfig: pulumi.Output[str]
    oidc_issuer: pulumi.Output[str]
    node_role: pulumi.Output[str]
    link: Link
    way_in: Sequence[pulumi.Resource]
    models: Bucket
    backups: Bucket
    repositories: dict[str, ecr.Repository]
    """By the name that the mirror's catalog has for the image."""
    identities: list[pulumi.Resource]
    """Done once pods of the workloads start with their roles."""
    file_system: FileSystem | None
    data_key: pulumi.Output[str]
    """ARN of the key that encrypts what is kept: buckets, images and pods' volumes."""

    def __init__(self, name: str, args: CloudArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        own = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions())
        super().__init__("isthmus:cloud:Cloud", name, None, own)
        environment, cloud = args.environment, args.environment.cloud
        assert cloud is not None
        aws = provider(environment, args.endpoint, pulumi.ResourceOptions(parent=self))
        child = pulumi.ResourceOptions(parent=self, providers=[aws])
        site = environment.onprem.network
        keys = Keys("keys", cloud=cloud, opts=child)
        network = Vpc("vpc", VpcArgs(cloud=cloud, logs_key=keys.logs.arn), child)
        endpoints = Endpoints("endpoints", cloud=cloud, network=network, opts=child)
        roles = identity.Roles("roles", child)
        control_plane = Eks(
            "eks",
            EksArgs(
                cloud=cloud,
                keys=keys,
                role=roles.cluster.arn,
                subnets=network.private_subnets,
                site=site.cidr,
            ),
            pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=roles.attached)),
        )
        self.cluster, self.open = control_plane.cluster, control_plane.open
        self.link = Link("link", cloud=cloud, network=network, site=[site.cidr, site.pod_cidr], opts=child)
        self.way_in = args.way_in(self.link) if args.way_in else []
        nodes = NodeGroups(
            "node-groups",
            NodeGroupsArgs(
                cloud=cloud,
                environment=environment.name,
                cluster=self.cluster.name,
                role=roles.node.arn,
                subnets=network.private_subnets,
                # Their groups give up after some twenty minutes without Cilium, which comes by that way.
                needed=[*roles.attached, endpoints, *self.way_in],
            ),
            child,
        )
        self.addons = Addons("addons", cloud=cloud, cluster=self.cluster.name, nodes=nodes.for_any_pod, opts=child)
        self.data_key = keys.data.arn
        self.file_system = None
        if cloud.addons.aws_efs_csi_driver:
            self.file_system = FileSystem("shared", cloud=cloud, network=network, key=keys.data.arn, opts=child)
        self.models = Bucket("models", cloud=cloud, key=keys.data.arn, opts=child)
        self.backups = Bucket("backups", cloud=cloud, key=keys.data.arn, opts=child)
        # In a lab nodes pull the platform from the mirror beside them.
        repositories = (*REPOSITORIES, *(images.PLATFORM if cloud.provisioner == "aws" else ()))
        self.repositories = {
            one: Repository(one, cloud=cloud, key=keys.data.arn, opts=child).repository for one in repositories
        }
        self.identities = self._pod_roles(cloud, keys, child)
        budget("monthly", cloud=cloud, environment=environment.name, opts=child)
        self.kubeconfig = pulumi.Output.secret(args.kubeconfig or kubeconfig(cloud, self.cluster))
        self.oidc_issuer = self.cluster.identities.apply(_issuer)
        self.node_role = roles.node.arn
        self.register_outputs({})

    def _pod_roles(self, cloud: Settings, keys: Keys, child: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        models, backups = self.models.bucket.arn, self.backups.bucket.arn
        inside = {bucket: pulumi.Output.concat(bucket, "/*") for bucket in (models, backups)}
        read = [identity.allow(["kms:Decrypt"], keys.data.arn)]
        write = [identity.allow(["kms:Decrypt", "kms:GenerateDataKey"], keys.data.arn)]
        wanted = {
            "training": (models, ["s3:GetObject", "s3:PutObject"], write),
            "inference": (models, ["s3:GetObject"], read),
            "replication": (models, ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], write),
            "backup": (backups, ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], write),
        }
        made: list[pulumi.Resource] = []
        for name, (bucket, actions, key) in wanted.items():
            one = identity.PodRole(
                name,
                cloud=cloud,
                cluster=self.cluster.name,
                namespace=WORKLOADS_NAMESPACE,
                service_account=name,
                statements=[
                    identity.allow(["s3:ListBucket"], bucket),
                    identity.allow(actions, inside[bucket]),
                    *key,
                ],
                opts=child,
            )
            made.append(one.association)
        identity.PodRole(
            "ebs-csi",
            cloud=cloud,
            cluster=self.cluster.name,
            namespace="kube-system",
            service_account="ebs-csi-controller-sa",
            statements=_encrypts_volumes(keys.data.arn),
            managed_policy="service-role/AmazonEBSCSIDriverPolicy",
            opts=child,
        )
        if self.file_system:
            identity.PodRole(
                "efs-csi",
                cloud=cloud,
                cluster=self.cluster.name,
                namespace="kube-system",
                service_account="efs-csi-controller-sa",
                managed_policy="service-role/AmazonEFSCSIDriverPolicy",
                opts=child,
            )
        return made


def _encrypts_volumes(key: pulumi.Input[str]) -> list[dict[str, Any]]:
    """What EBS needs of a key that is not Amazon's: its use, and grants to the service that attaches the volumes."""
    use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    grants = identity.allow(["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"], key)
    return [identity.allow(use, key), {**grants, "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}}}]


def _issuer(identities: Sequence[eks.outputs.ClusterIdentity]) -> str:
    """Of the tokens with which the cluster's service accounts show who they are."""
    return next(oidc.issuer or "" for one in identities for oidc in one.oidcs or ())


def kubeconfig(cloud: Settings, cluster: eks.Cluster) -> pulumi.Output[str]:
    """A kubeconfig whose user is whoever AWS takes the caller for."""
    name = cloud.cluster.name
    command = ["--region", cloud.region, "eks", "get-token", "--cluster-name", name, "--output", "json"]
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "aws",
            "args": command,
            "interactiveMode": "Never",
        }
    }
    server = {
        "server": cluster.endpoint,
        "certificate-authority-data": cluster.certificate_authority.apply(lambda authority: authority.data or ""),
    }
    return pulumi.Output.json_dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": server}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )
