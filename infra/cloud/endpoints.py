"""Private ways from the VPC to AWS: nodes pull images, store models and log without crossing the internet."""

from __future__ import annotations

import pulumi
from pulumi_aws import ec2, vpc

from infra.cloud.network import Vpc
from infra.environment import Cloud

INTERFACES = ("ec2", "ecr.api", "ecr.dkr", "logs", "sts")


class Endpoints(pulumi.ComponentResource):
    """A gateway for S3, and an interface in every zone for each other service that nodes need."""

    def __init__(self, name: str, *, cloud: Cloud, network: Vpc, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:cloud:Endpoints", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        service = f"com.amazonaws.{cloud.region}"
        ec2.VpcEndpoint(
            "s3",
            vpc_id=network.vpc.id,
            service_name=f"{service}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in network.private_tables.values()],
            opts=child,
        )
        group = ec2.SecurityGroup(
            "endpoints",
            vpc_id=network.vpc.id,
            description="Interface endpoints, from the VPC alone",
            tags={"Name": f"{cloud.cluster.name}-endpoints"},
            opts=child,
        )
        vpc.SecurityGroupIngressRule(
            "endpoints",
            security_group_id=group.id,
            description="HTTPS from the VPC",
            cidr_ipv4=str(cloud.network.cidr),
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            opts=child,
        )
        for one in INTERFACES:
            ec2.VpcEndpoint(
                one.replace(".", "-"),
                vpc_id=network.vpc.id,
                service_name=f"{service}.{one}",
                vpc_endpoint_type="Interface",
                subnet_ids=[subnet.id for subnet in network.private_subnets.values()],
                security_group_ids=[group.id],
                private_dns_enabled=True,
                opts=child,
            )
        self.register_outputs({})
