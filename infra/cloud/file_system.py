"""A file system that pods on several nodes write to at once: EFS, in every zone, reached from the VPC alone."""

from __future__ import annotations

import pulumi
from pulumi_aws import ec2, efs, vpc

from infra.cloud.network import Vpc
from infra.environment import Cloud

NFS_PORT = 2049


class FileSystem(pulumi.ComponentResource):
    """`id` is what a storage class names; volumes are folders of it, each with an access point."""

    id: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        cloud: Cloud,
        network: Vpc,
        key: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("isthmus:cloud:FileSystem", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        own = efs.FileSystem(
            name,
            encrypted=True,
            kms_key_id=key,
            # Paid by what is read and written: nothing while nobody trains.
            throughput_mode="elastic",
            tags={"Name": f"{cloud.cluster.name}-{name}"},
            opts=pulumi.ResourceOptions(parent=self, protect=not cloud.deletable),
        )
        group = ec2.SecurityGroup(
            name,
            vpc_id=network.vpc.id,
            description="Shared volumes, from the VPC alone",
            tags={"Name": f"{cloud.cluster.name}-{name}"},
            opts=child,
        )
        vpc.SecurityGroupIngressRule(
            name,
            security_group_id=group.id,
            description="NFS from the VPC",
            cidr_ipv4=str(cloud.network.cidr),
            ip_protocol="tcp",
            from_port=NFS_PORT,
            to_port=NFS_PORT,
            opts=child,
        )
        for zone, subnet in network.private_subnets.items():
            efs.MountTarget(
                f"{name}-{zone}", file_system_id=own.id, subnet_id=subnet.id, security_groups=[group.id], opts=child
            )
        self.id = own.id
        self.register_outputs({})
