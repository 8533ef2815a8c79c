"""What a host's pods may send and get, from the moment at which they are started again by its boot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Network
from typing import Any

import pytest

from infra.environment import Environment
from infra.providers.isthmus.handler import ResourceError
from ops import cluster, machines, sites
from ops.console import Failure
from ops.up import load
from tests.cluster.probes import HEAR, SAY, SEND, Probe, running, unguarded
from tests.e2e.both_sites import wait_for
from tests.e2e.conftest import ENVIRONMENT

PORT, PAUSE_S = 9999, 0.2
BACK_S = 240.0
"""Longest that a host's pods may take to be there again."""
AFTER_S = 5.0
"""Watched beyond the last pod's start: 25 rounds of each sender."""


@pytest.mark.parametrize("site", sites.of(load(ENVIRONMENT)))
def test_not_one_forbidden_packet_passes_when_a_hosts_pods_start_after_its_boot(
    environment: str, settings: Environment, power: Callable[[str, str], None], site: str
) -> None:
    there, *_, here = (host.name for host in sites.one(settings, site).hosts)
    (node,) = [one for one in cluster.items(environment, "nodes", site=site) if one["metadata"]["name"] == here]
    everybody = [str(address) for address in IPv4Network(node["spec"]["podCIDR"]).hosts()]

    def say(tag: str, *addresses: str) -> tuple[str, ...]:
        return (SAY, str(PORT), tag, str(PAUSE_S), *addresses)

    hear = (HEAR, str(PORT))
    with (
        unguarded(environment, site) as open_to_all,
        running(
            environment,
            (there, open_to_all, None),
            (here, open_to_all, None),
            (here, "workloads", None),
            program=hear,
            site=site,
        ) as (stranger, free, guarded),
        running(environment, (there, open_to_all, None), program=say("in", *everybody), site=site),
        running(environment, (here, "workloads", None), program=say("out", stranger.address), site=site) as (confined,),
        running(environment, (here, open_to_all, None), program=say("allowed", stranger.address), site=site),
    ):
        wait_for("what is allowed", lambda: tags(stranger) == ["allowed"] and tags(free) == ["in"])
        power(here, "reboot")
        # A pod that was there before says so with the tag of before.
        wait_for("the pods' next start", lambda: tags(stranger).count("allowed") > 1, BACK_S)
        wait_for("the pod that all may reach", lambda: again(free) and tags(free) == ["in"], BACK_S)
        wait_for("the pod that none may reach", lambda: again(guarded) and heard_by_host(guarded, here), BACK_S)
        wait_for("the pod that may send nothing", lambda: again(confined), BACK_S)
        time.sleep(AFTER_S)
        heard = {name: probe.told() for name, probe in (("stranger", stranger), ("guarded", guarded))}
    print(f"heard over the boot of {here}: {heard}")
    assert {kind(tag) for tag in heard["stranger"]} == {"allowed"}, "a confined pod's packets went out"
    assert {kind(tag) for tag in heard["guarded"]} == {"host"}, "a guarded pod was reached"


def tags(probe: Probe) -> list[str]:
    """What it heard since its last start, a tag for each start of who said it; nothing while nobody can be asked."""
    with suppress(Failure):
        return [kind(tag) for tag in probe.told()]
    return []


def kind(tag: str) -> str:
    """Whose it is, of whichever start."""
    return tag.partition("-")[0]


def again(probe: Probe) -> bool:
    """Whether it runs, and not for the first time."""
    with suppress(Failure):
        (container,) = status(probe)["containerStatuses"]
        return container["restartCount"] > 0 and "running" in container["state"]
    return False


def heard_by_host(guarded: Probe, host: str) -> bool:
    """Its own host's packets pass in any case: so it would have heard others."""
    with suppress(Failure, ResourceError):
        machines.run(host, "python3", "-c", SEND, status(guarded)["podIP"], str(PORT), "host", "10", "1")
    return "host" in tags(guarded)


def status(probe: Probe) -> Any:
    """As the API tells it."""
    where = ("-n", probe.namespace, probe.name, "-o", "json")
    pod = cluster.kubectl(probe.environment, "get", "pod", *where, site=probe.site)
    return json.loads(pod)["status"]
