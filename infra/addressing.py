"""Addresses and URLs that follow from an environment's network; pure arithmetic."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from infra.naming import MIRROR_PORT

if TYPE_CHECKING:
    from infra.environment import SiteNetwork


def mac(address: IPv4Address) -> str:
    """A machine's hardware address: 02 marks it as locally administered, the last four bytes are the IPv4 address.

    So it is as unique as the address, and the same after every restart: no neighbour keeps a stale entry.
    """
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x00, *address.packed))


def api_url(network: SiteNetwork) -> str:
    """The Kubernetes API, through its floating address."""
    return f"https://{network.api_address}:{network.api_port}"


def ingress_url(network: SiteNetwork) -> str:
    """What the cluster serves to people, through the ingress' floating address; HTTP's own port is left out."""
    port = "" if network.ingress_port == 80 else f":{network.ingress_port}"
    return f"http://{network.ingress_address}{port}"


def status_url(network: SiteNetwork, port: int) -> str:
    """The page that shows the sites, as this site has it."""
    return f"http://{network.ingress_address}:{port}"


def mirror_url(network: SiteNetwork) -> str:
    """The site's registry."""
    return f"http://{network.mirror_address}:{MIRROR_PORT}"


def dns(service_cidr: IPv4Network) -> IPv4Address:
    """Where kubelets look for the cluster's DNS: kubeadm's default, the tenth address of the Services' range."""
    return service_cidr[10]
