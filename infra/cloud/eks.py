"""The Kubernetes cluster in the cloud: EKS without its own network, which is Cilium's as on-prem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
from pulumi_aws import cloudwatch, ec2, eks, vpc

from infra.cloud.keys import Keys
from infra.environment import Cloud

LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")

ADMINISTRATOR = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

FROM_THE_SITE = (("the API", "tcp", 443), ("ClusterMesh", "tcp", 32379), ("Cilium's tunnels", "udp", 8472))
"""What the other site may reach: purpose, protocol, port."""


@dataclass(frozen=True, kw_only=True)
class EksArgs:
    """`role` is the cluster's own, as an ARN; `site` is the range of the hosts at the link's other end."""

    cloud: Cloud
    keys: Keys
    role: pulumi.Input[str]
    subnets: Mapping[str, ec2.Subnet]
    site: IPv4Network


class Eks(pulumi.ComponentResource):
    """`cluster`, and who may administer it: the platform team's roles, once `open` is done, and nobody else."""

    cluster: eks.Cluster
    open: list[pulumi.Resource]

    def __init__(self, name: str, args: EksArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:cloud:Eks", name, None, opts)
        cloud, child = args.cloud, pulumi.ResourceOptions(parent=self)
        # Made beforehand: EKS would make one without a key that keeps everything for ever.
        logs = cloudwatch.LogGroup(
            "cluster",
            name=f"/aws/eks/{cloud.cluster.name}/cluster",
            kms_key_id=args.keys.logs.arn,
            retention_in_days=cloud.log_retention_days,
            opts=child,
        )
        public = [str(network) for network in cloud.public_access_cidrs]
        self.cluster = eks.Cluster(
            name,
            name=cloud.cluster.name,
            version=cloud.kubernetes_version,
            role_arn=args.role,
            # Its own network add-ons would fight with Cilium over the nodes.
            bootstrap_self_managed_addons=False,
            access_config=eks.ClusterAccessConfigArgs(
                authentication_mode="API", bootstrap_cluster_creator_admin_permissions=False
            ),
            enabled_cluster_log_types=list(LOGS),
            encryption_config=eks.ClusterEncryptionConfigArgs(
                provider=eks.ClusterEncryptionConfigProviderArgs(key_arn=args.keys.cluster.arn), resources=["secrets"]
            ),
            kubernetes_network_config=eks.ClusterKubernetesNetworkConfigArgs(
                ip_family="ipv4", service_ipv4_cidr=str(cloud.network.service_cidr)
            ),
            vpc_config=eks.ClusterVpcConfigArgs(
                subnet_ids=[subnet.id for subnet in args.subnets.values()],
                endpoint_private_access=True,
                endpoint_public_access=bool(public),
                public_access_cidrs=public or None,
            ),
            # No surprise bill: extended support costs more. Instead, when a version's standard support ends, AWS raises
            # the cluster to the next one by itself, so the file has to name that before.
            upgrade_policy=eks.ClusterUpgradePolicyArgs(support_type="STANDARD"),
            deletion_protection=not cloud.deletable,
            opts=pulumi.ResourceOptions(parent=self, protect=not cloud.deletable, depends_on=[logs]),
        )
        self.open = self._administrators(cloud)
        self._reachable(args.site)
        self.register_outputs({})

    def _administrators(self, cloud: Cloud) -> list[pulumi.Resource]:
        child = pulumi.ResourceOptions(parent=self)
        made: list[pulumi.Resource] = []
        for role in cloud.platform_team_roles:
            name = f"administrator-{role.rpartition('/')[2]}"
            entry = eks.AccessEntry(
                name, cluster_name=self.cluster.name, principal_arn=role, type="STANDARD", opts=child
            )
            made.append(
                eks.AccessPolicyAssociation(
                    name,
                    cluster_name=self.cluster.name,
                    principal_arn=entry.principal_arn,
                    policy_arn=ADMINISTRATOR,
                    access_scope={"type": "cluster"},
                    opts=child,
                )
            )
        return made

    def _reachable(self, site: IPv4Network) -> None:
        """The nodes and the API share the security group that EKS makes; the site is let in where it must be."""
        group = self.cluster.vpc_config.apply(lambda config: config.cluster_security_group_id or "")
        for purpose, protocol, port in FROM_THE_SITE:
            vpc.SecurityGroupIngressRule(
                f"site-{protocol}-{port}",
                security_group_id=group,
                description=f"The on-prem site to {purpose}",
                cidr_ipv4=str(site),
                ip_protocol=protocol,
                from_port=port,
                to_port=port,
                opts=pulumi.ResourceOptions(parent=self),
            )
