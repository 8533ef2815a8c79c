"""How a VPC's range is divided among its zones; pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

PRIVATE_BITS = 3
"""A private subnet is an eighth of the VPC: room for six zones, with the last eighth for the public subnets."""

PUBLIC_BITS = 6
"""A public subnet holds load balancers and NAT gateways only, so it is small."""


@dataclass(frozen=True, kw_only=True)
class Zone:
    """One zone's subnets; `letter` is what tells the zone from the region's others."""

    name: str
    private: IPv4Network
    public: IPv4Network

    @property
    def letter(self) -> str:
        """a, for eu-central-1a: names stay the same in another region."""
        return self.name[-1]


def plan(cidr: IPv4Network, zones: Sequence[str]) -> tuple[Zone, ...]:
    """The subnets of each zone; at most six fit.

    A zone added at the end moves no other, which is of use only before there is a cluster: EKS keeps it to the zones
    that it was made in.
    """
    *private, last = cidr.subnets(prefixlen_diff=PRIVATE_BITS)
    public = last.subnets(prefixlen_diff=PUBLIC_BITS - PRIVATE_BITS)
    return tuple(
        Zone(name=name, private=inner, public=outer) for name, inner, outer in zip(zones, private, public, strict=False)
    )
