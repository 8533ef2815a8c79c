"""The link's far end in a lab, where Amazon would have a VPN connection: a machine that two uplinks lead to.

The sites' own bridges are kept apart, so that nothing but the tunnels joins them.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra import addressing, settings
from infra.artifacts import Index
from infra.cloud import lab_site
from infra.environment import Cloud
from infra.paths import ROOT
from infra.resources import Machine, Network

GATEWAY, END = 1, 2


@dataclass(frozen=True, kw_only=True)
class LabEndArgs:
    """`network` is the one of the cloud site's machines."""

    environment: str
    cloud: Cloud
    network: Network
    index: Index


class LabEnd(pulumi.ComponentResource):
    """`host_key` is the machine's; `addresses` are where the tunnels end, one each."""

    host_key: pulumi.Output[str]
    addresses: tuple[str, ...]

    def __init__(self, name: str, args: LabEndArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:link:LabEnd", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        image = args.index.artifact("machine")
        common = {
            "image": str(image.local),
            "image_digest": image.digest,
            "checkout": str(ROOT),
            "environment": args.environment,
        }
        self.addresses = tuple(str(uplink[END]) for uplink in lab_site.UPLINKS)
        uplinks = [
            Network(
                f"uplink-{number}",
                name=f"isthmus-{args.environment}-uplink-{number}",
                cidr=str(uplink),
                gateway=str(uplink[GATEWAY]),
                mirror_address="",
                registry_binary="",
                registry_storage="",
                kind="uplink",
                opts=child,
                **common,
            )
            for number, uplink in enumerate(lab_site.UPLINKS, 1)
        ]
        address = lab_site.vpn(args.cloud)
        names = pulumi.Output.all(*(uplink.name for uplink in uplinks))
        self.host_key = Machine(
            lab_site.vpn_name(args.cloud),
            hostname=lab_site.vpn_name(args.cloud),
            network=args.network.name,
            address=str(address),
            mac=addressing.mac(address),
            uplinks=names.apply(lambda found: dict(zip(found, self.addresses, strict=True))),
            authorized_key=settings.authorized_key(args.environment),
            disks={},
            shared={},
            opts=child,
            **common,
        ).host_key
        self.register_outputs({})
