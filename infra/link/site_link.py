"""The tunnels: one playbook over the hosts of both ends, once they are set up and AWS has said what the tunnels are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from infra import inventory, settings
from infra.cloud import lab_site
from infra.cloud.link import Tunnel
from infra.environment import Environment, Host, Onprem
from infra.link import ends
from infra.link.lab_end import LabEnd
from infra.onprem import Site
from infra.onprem.cluster import FOLDER, TIMEOUT_S
from infra.paths import state
from infra.providers.isthmus.roles_digest import roles_digest
from infra.resources import Playbook

PLAYBOOK = "link.yml"


@dataclass(frozen=True, kw_only=True)
class Far:
    """The far end, where a lab has to make it itself: the cloud half's machines, and the one that ends the tunnels."""

    site: Site
    end: LabEnd


@dataclass(frozen=True, kw_only=True)
class SiteLinkArgs:
    """`site` is what came of the environment's on-prem half; `tunnels` are AWS's, with secrets."""

    environment: Environment
    site: Site
    tunnels: Sequence[Tunnel]
    far: Far | None = None
    """None where Amazon is the far end."""


class SiteLink(pulumi.ComponentResource):
    """Done once a tunnel carries packets."""

    playbook: Playbook

    def __init__(self, name: str, args: SiteLinkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:link:SiteLink", name, None, opts)
        environment = args.environment
        keys = {_name(number): tunnel.preshared_key for number, tunnel in enumerate(args.tunnels, 1)}
        hosts = _hosts(args)
        sites = [args.site, *([args.far.site] if args.far else [])]
        self.playbook = Playbook(
            name,
            playbook=PLAYBOOK,
            folder=str(FOLDER),
            inventory={"all": {"hosts": hosts, "children": {"link": {"hosts": {one: {} for one in hosts}}}}},
            variables={"link_preshared_keys": keys},
            roles_digest=roles_digest(FOLDER, PLAYBOOK),
            outputs=[],
            private_key_path=str(settings.private_key(environment.name)),
            work_dir=str(state(environment.name) / "ansible" / name),
            timeout_s=TIMEOUT_S,
            check_on_diff=environment.onprem.check_hosts or settings.hosts_asked_for(),
            # Taking it away ends tunnels and routes, and touches nothing else of the hosts.
            reset_allowed=True,
            reset_playbook="unlink.yml",
            # Two playbooks at once would get in each other's way on a host.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[site.cluster.playbook for site in sites],
                # Of machines that are about to go nothing need be taken away.
                deleted_with=args.site.network,
            ),
        )
        self.register_outputs({})


def _name(number: int) -> str:
    return f"tunnel-{number}"


def _hosts(args: SiteLinkArgs) -> dict[str, dict[str, Any]]:
    """The hosts that have a part in it, each with how it is reached and what it must do."""
    onprem, cloud, far = args.environment.onprem, args.environment.cloud, args.far
    assert cloud is not None
    mask = f"/{ends.INSIDE_PREFIX}"
    tunnels = [
        ends.Tunnel(
            name=_name(number),
            remote_address=far.end.addresses[number - 1] if far else tunnel.address,
            inside_address=pulumi.Output.concat(tunnel.inside_address, mask),
            peer_inside_address=pulumi.Output.concat(tunnel.peer_inside_address, mask),
        )
        for number, tunnel in enumerate(args.tunnels, 1)
    ]
    reached = _reached(onprem.hosts, onprem, args.site.host_keys)
    parts = ends.on_prem(onprem, cloud, tunnels)
    if far:
        there = lab_site.site(cloud)
        gateway = inventory.connection(lab_site.vpn(cloud), there, far.end.host_key)
        reached |= _reached(there.hosts, there, far.site.host_keys) | {lab_site.vpn_name(cloud): gateway}
        parts |= ends.in_lab(onprem, cloud, tunnels)
    return {name: {**connection, "link": parts[name]} for name, connection in reached.items()}


def _reached(hosts: Sequence[Host], site: Onprem, keys: Mapping[str, pulumi.Input[str]]) -> dict[str, dict[str, Any]]:
    return {host.name: inventory.connection(host.address, site, keys[host.name]) for host in hosts}
