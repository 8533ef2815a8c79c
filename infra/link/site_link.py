"""The on-prem ends of the tunnels: one playbook, once the hosts are set up and AWS has said where its ends are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from infra import inventory, settings
from infra.cloud.link import Tunnel
from infra.environment import Cloud, Onprem
from infra.link import ends
from infra.onprem import Site
from infra.onprem.cluster import FOLDER, TIMEOUT_S
from infra.paths import state
from infra.providers.isthmus.roles_digest import roles_digest
from infra.resources import Playbook

PLAYBOOK = "link.yml"


@dataclass(frozen=True, kw_only=True)
class SiteLinkArgs:
    """`hosts` is what the environment says of the site, `site` what came of it; `tunnels` are AWS's, with secrets."""

    environment: str
    hosts: Onprem
    site: Site
    cloud: Cloud
    tunnels: tuple[Tunnel, ...]


class SiteLink(pulumi.ComponentResource):
    """Done once a tunnel carries packets."""

    playbook: Playbook

    def __init__(self, name: str, args: SiteLinkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:link:SiteLink", name, None, opts)
        tunnels = {f"tunnel-{number}": tunnel for number, tunnel in enumerate(args.tunnels, 1)}
        self.playbook = Playbook(
            name,
            playbook=PLAYBOOK,
            folder=str(FOLDER),
            inventory=_inventory(args, tunnels),
            variables={"link_preshared_keys": {one: tunnel.preshared_key for one, tunnel in tunnels.items()}},
            roles_digest=roles_digest(FOLDER, PLAYBOOK),
            outputs=[],
            private_key_path=str(settings.private_key(args.environment)),
            work_dir=str(state(args.environment) / "ansible" / name),
            timeout_s=TIMEOUT_S,
            check_on_diff=args.hosts.check_hosts or settings.hosts_asked_for(),
            # Taking it away ends tunnels and routes, and touches nothing else of the hosts.
            reset_allowed=True,
            reset_playbook="unlink.yml",
            # Two playbooks at once would get in each other's way on a host.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.site.cluster.playbook]),
        )
        self.register_outputs({})


def _inventory(args: SiteLinkArgs, tunnels: dict[str, Tunnel]) -> dict[str, Any]:
    mask = f"/{ends.INSIDE_PREFIX}"
    given = [
        ends.Tunnel(
            name=one,
            remote_address=tunnel.address,
            inside_address=pulumi.Output.concat(tunnel.inside_address, mask),
            peer_inside_address=pulumi.Output.concat(tunnel.peer_inside_address, mask),
        )
        for one, tunnel in tunnels.items()
    ]
    parts = ends.on_prem(args.hosts, args.cloud, given)
    keys = args.site.host_keys
    hosts = {
        host.name: {**inventory.connection(host, args.hosts, keys[host.name]), "link": parts[host.name]}
        for host in args.hosts.hosts
    }
    return {"all": {"hosts": hosts, "children": {"link": {"hosts": {one: {} for one in hosts}}}}}
