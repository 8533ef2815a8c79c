"""Power loss, measured at the client that polls every 20 ms."""

from __future__ import annotations

import time

import pytest

from infra.environment import Environment
from infra.providers.isthmus.podman import Podman
from ops import cluster, machines
from tests.e2e.conftest import wait_until_whole
from tests.e2e.polling import Poller
from tests.e2e.work import round_trip, train

BOUND_S = 5.0
"""An outage above this fails the test; what was measured is printed (facts.md saw 0.7-0.9 s on a quieter machine)."""


def holder(settings: Environment, address: str, *, without: str | None = None) -> str:
    """The machine that holds a floating address now; a machine `without` power can't be asked."""
    for host in settings.onprem.hosts:
        if host.name != without and f" {address}/" in machines.run(host.name, "ip", "-o", "-4", "addr", "show"):
            return host.name
    raise AssertionError(f"no machine holds {address}")


@pytest.mark.parametrize("which", ["api", "ingress"])
def test_power_loss_of_the_holder_is_a_short_outage(settings, power, which: str) -> None:
    network = settings.onprem.network
    if which == "api":
        address = str(network.api_address)
        url = f"https://{address}:{network.api_port}/readyz"
    else:
        address = str(network.ingress_address)
        url = f"http://{address}:{network.ingress_port}/v2/health/ready"
    first = holder(settings, address)
    with Poller(url, good=frozenset({200, 401, 403})) as client:
        time.sleep(1)
        power(first, "power-off")
        time.sleep(12)
    print(f"{which} address: {first} lost power; longest outage {client.longest:.2f} s; answers {client.codes}")
    assert holder(settings, address, without=first) != first
    assert client.failed > 0, "the client saw no outage at all: did the power loss happen?"
    assert client.longest < BOUND_S


def test_the_site_works_on_without_one_control_plane_which_rejoins_by_itself(
    environment, settings, power, ingress
) -> None:
    lost = settings.onprem.hosts[-1].name
    with Poller(f"{ingress}/v2/health/ready", interval=0.05) as client:
        power(lost, "power-off")
        round_trip(environment)
        train(environment, seed=7)
        assert client.answered > 0
    print(f"{lost} without power: longest gap in predictions {client.longest:.2f} s; answers {client.codes}")
    assert client.longest < 10
    machines.power(environment, lost, "power-on")
    start = time.monotonic()
    while True:
        node = next(n for n in cluster.items(environment, "nodes") if n["metadata"]["name"] == lost)
        if cluster.ready(node) and time.monotonic() - start > 5:
            break
        assert time.monotonic() - start < 180, f"{lost} did not rejoin within 180 s"
        time.sleep(1)
    print(f"{lost} was ready {time.monotonic() - start:.0f} s after its power came back")


def test_a_lost_machine_is_made_anew_on_its_disks_and_is_the_same_member(environment, settings, make, ingress) -> None:
    lost = settings.onprem.hosts[0].name
    before = next(n for n in cluster.items(environment, "nodes") if n["metadata"]["name"] == lost)["metadata"]["uid"]
    Podman.default()("rm", "--force", "--time", "0", lost)
    with Poller(f"{ingress}/v2/health/ready", interval=0.05) as client:
        make("up")
    print(f"{lost} was lost: longest gap in predictions {client.longest:.2f} s while it was made anew")
    wait_until_whole(environment, settings)
    nodes = {n["metadata"]["name"]: n["metadata"]["uid"] for n in cluster.items(environment, "nodes")}
    assert nodes[lost] == before
    assert client.longest < 10
    make("preview", "HOSTS=1", "ARGS=--expect-no-changes")
