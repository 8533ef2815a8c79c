"""A VPC's range among its zones."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest

from infra.cloud.subnets import plan

ZONES = [f"eu-central-1{letter}" for letter in "abcdef"]


@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "10.0.16.0/20"])
@pytest.mark.parametrize("count", [2, 3, 6])
def test_subnets_lie_in_the_vpc_and_apart(cidr: str, count: int) -> None:
    vpc = IPv4Network(cidr)
    zones = plan(vpc, ZONES[:count])
    subnets = [one for zone in zones for one in (zone.private, zone.public)]
    assert len(zones) == count
    assert all(subnet.subnet_of(vpc) for subnet in subnets)
    assert not any(one.overlaps(other) for one, other in combinations(subnets, 2))
    assert min(zone.public.num_addresses for zone in zones) >= 16, "AWS takes no smaller subnet"


def test_a_zone_more_moves_no_other() -> None:
    vpc = IPv4Network("10.0.0.0/16")
    assert plan(vpc, ZONES[:3]) == plan(vpc, ZONES[:4])[:3]
