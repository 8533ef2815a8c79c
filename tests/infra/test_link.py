"""The on-prem ends of the tunnels, as each host is told of them."""

from __future__ import annotations

from typing import Any

import pytest

from infra import environment, sites
from infra.environment import Environment
from infra.link import ends
from infra.paths import ROOT
from tests.infra import recording

PROD = environment.load(ROOT / "environments" / "prod.yaml")


def told(env: Environment) -> dict[str, dict[str, Any]]:
    assert env.cloud is not None
    tunnels = [
        ends.Tunnel(name=f"tunnel-{n}", remote_address=f"203.0.113.{n}", inside_address="i", peer_inside_address="p")
        for n in (1, 2)
    ]
    return ends.on_prem(env.onprem, env.cloud, tunnels)


def test_every_host_sends_to_the_cloud_by_the_address_that_floats() -> None:
    hosts = told(PROD)
    assert hosts.keys() == {host.name for host in PROD.onprem.hosts}
    assert {one["next_hop"] for one in hosts.values()} == {"10.20.0.100"}
    assert hosts["worker-1"]["remote_ranges"] == ["10.32.0.0/16"]


def test_load_balancers_end_both_tunnels_and_no_other_host_does() -> None:
    ending = {name: [one["remote_address"] for one in host["tunnels"]] for name, host in told(PROD).items()}
    both = ["203.0.113.1", "203.0.113.2"]
    assert {name: ends for name, ends in ending.items() if ends} == {"cp-1": both, "cp-2": both, "cp-3": both}


def test_the_cloud_knows_the_site_by_its_public_address() -> None:
    tunnel = told(PROD)["cp-1"]["tunnels"][0]
    assert (tunnel["local_address"], tunnel["local_id"]) == ("10.20.0.100", "198.51.100.10")


@pytest.mark.parametrize(("env", "expected"), [(PROD, True), (recording.local(), False), (recording.hybrid(), False)])
def test_tunnels_end_on_hosts_where_amazon_is_the_other_end(env: Environment, expected: bool) -> None:
    assert sites.linked(env) is expected
