"""What each host must do for the link, as the variables of role site_link; pure functions.

Ranges are those of nodes alone: a pod leaves its site under its node's address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infra.cloud import lab_site
from infra.environment import Cloud, Onprem

INSIDE_PREFIX = 30
"""AWS gives the two ends of a tunnel an inside network of this size."""


@dataclass(frozen=True, kw_only=True)
class Tunnel:
    """One of the two, as the site sees it; values may be Outputs. The secret goes by the tunnel's name, apart."""

    name: str
    remote_address: Any
    inside_address: Any
    peer_inside_address: Any


def on_prem(site: Onprem, cloud: Cloud, tunnels: Sequence[Tunnel]) -> dict[str, dict[str, Any]]:
    """Host name -> variables. Whoever holds the API's floating address runs the tunnels, and all hosts send to it."""
    floating = str(site.network.api_address)
    gateways = {host.name for host in site.having("load_balancer")}
    return {
        host.name: {
            "local_ranges": [str(site.network.cidr)],
            "remote_ranges": [str(cloud.network.cidr)],
            "next_hop": floating,
            "source_address": str(host.address),
            "floating_address": floating if host.name in gateways else "",
            "initiate": True,
            "tunnels": [_end(tunnel, floating, cloud) for tunnel in tunnels] if host.name in gateways else [],
        }
        for host in site.hosts
    }


def in_lab(site: Onprem, cloud: Cloud, tunnels: Sequence[Tunnel]) -> dict[str, dict[str, Any]]:
    """The same of a lab's cloud half: one machine ends the tunnels, as Amazon's gateway would, and all send to it."""
    gateway = str(lab_site.vpn(cloud))
    ranges = {"local_ranges": [str(cloud.network.cidr)], "remote_ranges": [str(site.network.cidr)]}
    common = {**ranges, "floating_address": "", "initiate": False}
    hosts = {
        host.name: {**common, "next_hop": gateway, "source_address": str(host.address), "tunnels": []}
        for host in lab_site.site(cloud).hosts
    }
    ends = [_far_end(tunnel, cloud) for tunnel in tunnels]
    return hosts | {lab_site.vpn_name(cloud): {**common, "next_hop": "", "source_address": gateway, "tunnels": ends}}


def _end(tunnel: Tunnel, floating: str, cloud: Cloud) -> dict[str, Any]:
    return {
        "name": tunnel.name,
        "local_address": floating,
        # The cloud knows the site by its public address, which no host of it need have.
        "local_id": str(cloud.link.site_address),
        "remote_address": tunnel.remote_address,
        "inside_address": tunnel.inside_address,
        "peer_inside_address": tunnel.peer_inside_address,
    }


def _far_end(tunnel: Tunnel, cloud: Cloud) -> dict[str, Any]:
    """Without `remote_address`: what reaches this end comes from behind NAT."""
    return {
        "name": tunnel.name,
        "local_address": tunnel.remote_address,
        "remote_id": str(cloud.link.site_address),
        "inside_address": tunnel.peer_inside_address,
        "peer_inside_address": tunnel.inside_address,
    }
