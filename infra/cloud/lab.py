"""What a lab has in Amazon's place: an answer to its API, and a site of machines where EKS and its nodes would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from infra.artifacts import Index
from infra.cloud import lab_site
from infra.environment import Environment
from infra.naming import TcpService
from infra.onprem import Site, SiteArgs
from infra.paths import ROOT, state
from infra.resources import AwsApi


@dataclass(frozen=True, kw_only=True)
class LabArgs:
    """The environment, and what the mirror holds for it; `tcp_services`: see SiteArgs."""

    environment: Environment
    index: Index
    tcp_services: Sequence[TcpService] = ()


class Lab(pulumi.ComponentResource):
    """`endpoint` answers AWS's API; `site` runs what EKS would."""

    endpoint: pulumi.Output[str]
    site: Site

    def __init__(self, name: str, args: LabArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:cloud:Lab", name, None, opts)
        environment, cloud = args.environment, args.environment.cloud
        assert cloud is not None
        child = pulumi.ResourceOptions(parent=self)
        self.site = Site(
            "cloud",
            SiteArgs(
                environment=environment.name,
                site=lab_site.site(cloud),
                kubernetes_version=environment.kubernetes.version,
                index=args.index,
                tcp_services=args.tcp_services,
                peer=environment.onprem.network.cidr,
            ),
            child,
        )
        assert self.site.network is not None
        image = args.index.artifact("aws-api")
        self.endpoint = AwsApi(
            "aws-api",
            name=f"isthmus-{environment.name}-aws-api",
            network=self.site.network.name,
            address=str(lab_site.aws_api(cloud)),
            registry=self.site.network.mirror_url,
            image=image.image,
            image_digest=image.digest,
            account_id=cloud.account_id,
            data=str(state(environment.name) / "aws-api"),
            checkout=str(ROOT),
            environment=environment.name,
            opts=child,
        ).endpoint
        self.register_outputs({})
