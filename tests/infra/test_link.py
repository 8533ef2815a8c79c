"""The ends of the tunnels, as each host is told of them."""

from __future__ import annotations

from typing import Any

from infra import environment
from infra.environment import Environment
from infra.link import ends
from infra.paths import ROOT
from tests.infra import recording

LAB = recording.hybrid()
TUNNELS = [
    ends.Tunnel(name=f"tunnel-{n}", remote_address=f"203.0.113.{n}", inside_address="i", peer_inside_address="p")
    for n in (1, 2)
]
PROD = environment.load(ROOT / "environments" / "prod.yaml")


def told(env: Environment) -> dict[str, dict[str, Any]]:
    assert env.cloud is not None
    return ends.on_prem(env.onprem, env.cloud, TUNNELS)


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


def test_a_labs_far_end_is_one_machine_that_waits_for_who_comes_from_behind_nat() -> None:
    cloud = LAB.cloud
    assert cloud is not None
    hosts = ends.in_lab(LAB.onprem, cloud, TUNNELS)
    assert hosts.keys() == {"cloud-api", "cloud-general-1", "cloud-vpn"}
    assert {name: host["next_hop"] for name, host in hosts.items() if host["next_hop"]} == {
        "cloud-api": "10.80.0.7",
        "cloud-general-1": "10.80.0.7",
    }
    assert {str(host["remote_ranges"]) for host in hosts.values()} == {"['10.90.0.0/24']"}
    assert not any(host["initiate"] for host in hosts.values())
    first = hosts["cloud-vpn"]["tunnels"][0]
    assert "remote_address" not in first
    assert first["remote_id"] == told(LAB)["onprem-1"]["tunnels"][0]["local_id"]
    assert (first["inside_address"], first["peer_inside_address"]) == ("p", "i"), "seen from the other side"
