"""The VPC: public subnets for load balancers and NAT, private ones for nodes, in every zone."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, ec2, iam

from infra.cloud.subnets import Zone, plan
from infra.environment import Cloud

ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True, kw_only=True)
class VpcArgs:
    """`logs_key`: ARN of the key that encrypts the flow logs."""

    cloud: Cloud
    logs_key: pulumi.Input[str]


class Vpc(pulumi.ComponentResource):
    """`private_subnets` and `public_subnets` by zone name; each private subnet leads out through a NAT gateway."""

    vpc: ec2.Vpc
    public_subnets: dict[str, ec2.Subnet]
    private_subnets: dict[str, ec2.Subnet]
    private_tables: dict[str, ec2.RouteTable]

    def __init__(self, name: str, args: VpcArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:cloud:Vpc", name, None, opts)
        self._child = pulumi.ResourceOptions(parent=self)
        self._cluster = args.cloud.cluster.name
        network = args.cloud.network
        zones = plan(network.cidr, args.cloud.zones)
        self.vpc = ec2.Vpc(
            name,
            cidr_block=str(network.cidr),
            # Both are needed for the private names of endpoints and of the cluster's API.
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags={"Name": self._cluster},
            opts=self._child,
        )
        # Without rules: whatever forgets to name a security group reaches nothing.
        ec2.DefaultSecurityGroup(name, vpc_id=self.vpc.id, ingress=[], egress=[], opts=self._child)
        self._public(zones)
        self._private(zones, single=network.nat == "single")
        self._flow_logs(args)
        self.register_outputs({})

    def _subnet(self, zone: Zone, kind: str, cidr: str, role: str) -> ec2.Subnet:
        return ec2.Subnet(
            f"{kind}-{zone.letter}",
            vpc_id=self.vpc.id,
            availability_zone=zone.name,
            cidr_block=cidr,
            map_public_ip_on_launch=False,
            tags={
                "Name": f"{self._cluster}-{kind}-{zone.letter}",
                f"kubernetes.io/cluster/{self._cluster}": "shared",
                # Where EKS puts load balancers: those of the internet, or those of the VPC alone.
                f"kubernetes.io/role/{role}": "1",
            },
            opts=self._child,
        )

    def _table(self, name: str) -> ec2.RouteTable:
        # Routes are resources of their own: the link's propagated ones must not be taken for drift.
        return ec2.RouteTable(name, vpc_id=self.vpc.id, tags={"Name": f"{self._cluster}-{name}"}, opts=self._child)

    def _joined(self, name: str, subnet: ec2.Subnet, table: ec2.RouteTable) -> None:
        ec2.RouteTableAssociation(name, subnet_id=subnet.id, route_table_id=table.id, opts=self._child)

    def _public(self, zones: tuple[Zone, ...]) -> None:
        gateway = ec2.InternetGateway("internet", vpc_id=self.vpc.id, tags={"Name": self._cluster}, opts=self._child)
        table = self._table("public")
        self._way_out = ec2.Route(
            "public", route_table_id=table.id, destination_cidr_block=ANYWHERE, gateway_id=gateway.id, opts=self._child
        )
        self.public_subnets = {zone.name: self._subnet(zone, "public", str(zone.public), "elb") for zone in zones}
        for zone in zones:
            self._joined(f"public-{zone.letter}", self.public_subnets[zone.name], table)

    def _private(self, zones: tuple[Zone, ...], *, single: bool) -> None:
        self.private_subnets = {
            zone.name: self._subnet(zone, "private", str(zone.private), "internal-elb") for zone in zones
        }
        self.private_tables = {zone.name: self._table(f"private-{zone.letter}") for zone in zones}
        nats = {zone.name: self._nat(zone) for zone in (zones[:1] if single else zones)}
        for zone in zones:
            table = self.private_tables[zone.name]
            self._joined(f"private-{zone.letter}", self.private_subnets[zone.name], table)
            ec2.Route(
                f"private-{zone.letter}",
                route_table_id=table.id,
                destination_cidr_block=ANYWHERE,
                nat_gateway_id=nats.get(zone.name, nats[zones[0].name]).id,
                opts=self._child,
            )

    def _nat(self, zone: Zone) -> ec2.NatGateway:
        name = f"nat-{zone.letter}"
        tags = {"Name": f"{self._cluster}-{name}"}
        address = ec2.Eip(name, domain="vpc", tags=tags, opts=self._child)
        # Useless before its subnet leads to the internet.
        opts = pulumi.ResourceOptions(parent=self, depends_on=[self._way_out])
        subnet = self.public_subnets[zone.name]
        return ec2.NatGateway(name, allocation_id=address.id, subnet_id=subnet.id, tags=tags, opts=opts)

    def _flow_logs(self, args: VpcArgs) -> None:
        group = cloudwatch.LogGroup(
            "flow-logs",
            name=f"/isthmus/{self._cluster}/flow-logs",
            kms_key_id=args.logs_key,
            retention_in_days=args.cloud.log_retention_days,
            opts=self._child,
        )
        trusted = {"Service": "vpc-flow-logs.amazonaws.com"}
        condition = {"StringEquals": {"aws:SourceAccount": args.cloud.account_id}}
        statement = {"Effect": "Allow", "Principal": trusted, "Action": "sts:AssumeRole", "Condition": condition}
        role = iam.Role(
            "flow-logs",
            assume_role_policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
            opts=self._child,
        )
        iam.RolePolicy(
            "flow-logs",
            role=role.id,
            policy=pulumi.Output.json_dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": [
                                "logs:CreateLogStream",
                                "logs:DescribeLogGroups",
                                "logs:DescribeLogStreams",
                                "logs:PutLogEvents",
                            ],
                            "Resource": [group.arn, pulumi.Output.concat(group.arn, ":*")],
                        }
                    ],
                }
            ),
            opts=self._child,
        )
        ec2.FlowLog(
            "flow-logs",
            vpc_id=self.vpc.id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=60,
            opts=self._child,
        )
