"""The link between the sites: alone, cut, healed, with one of its tunnels, under another host; and who tells of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path

import yaml

from infra.environment import Environment
from infra.paths import ROOT
from infra.platform.monitoring import names
from ops import cluster, machines, sites
from tests.cluster import watching
from tests.cluster.watching import Api
from tests.e2e import polling
from tests.e2e.both_sites import Champions, reaches, served, vpn, wait_for
from tests.e2e.polling import Poller

IP_AND_ICMP, VXLAN = 28, 50
"""Bytes of headers: of a ping, and of what carries pods' packets between hosts."""
MTU_OF_THE_WAY = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect((sys.argv[1], 9))
print(sender.getsockopt(socket.IPPROTO_IP, 14))
"""
"""Prints IP_MTU, the most that the kernel sends to an address in one packet."""

TOLD_S, OVER_S = 200.0, 120.0
"""Longest from a cut to its alert, which waits two and a half minutes, and from when the link carries to its end."""


def test_nothing_but_the_link_joins_the_sites_and_without_it_both_serve_on(
    environment: str, settings: Environment, ingress: str, cloud_ingress: str, champions: Champions
) -> None:
    far_end, node = vpn(settings), sites.one(settings, "cloud").hosts[0].name
    assert reaches(node, ingress)
    champions.settle(ingress, cloud_ingress)
    with Poller(f"{ingress}/v2/health/ready", interval=0.1, timeout=2) as here:  # noqa: SIM117
        with Poller(f"{cloud_ingress}/v2/health/ready", interval=0.1, timeout=2) as there:
            machines.power(environment, far_end, "cut")
            try:
                assert not reaches(node, ingress), "there is another way between the sites"
                newer = champions.train_another()  # now, so that nothing of it can be there already
                champions.promote(newer)
                wait_for("the newer model on-prem", lambda: served(ingress) == newer)
                time.sleep(10)
                assert served(cloud_ingress) == champions.first
            finally:
                machines.power(environment, far_end, "heal")
            try:
                healed = wait_for("the link", lambda: reaches(node, ingress))
                arrived = wait_for("the newer model there", lambda: served(cloud_ingress) == newer)
            finally:
                champions.promote(champions.first)
            wait_for("the first model there", lambda: served(cloud_ingress) == champions.first)
    print(f"the link carried again {healed:.1f} s after it healed, the newer champion came {arrived:.1f} s later")
    for site, client in (("on-prem", here), ("cloud", there)):
        print(f"{site}, its link cut: {client.answered} answers, {client.failed} failed, gap {client.longest:.2f} s")
        assert client.failed == 0, client.codes


def test_the_largest_packets_of_hosts_pass_whole_and_pods_send_none_that_would_not(
    environment: str, settings: Environment
) -> None:
    """A larger one would be lost in silence, or arrive in pieces."""
    mtu = yaml.safe_load((ROOT / "ansible/roles/site_link/defaults/main.yml").read_text())["site_link_mtu"]
    for here, there in (("onprem", "cloud"), ("cloud", "onprem")):
        far = sites.one(settings, there).hosts[0].address
        for host in sites.one(settings, here).hosts:
            assert not passes(host.name, far, mtu + 1), f"{host.name}: a packet of {mtu + 1} bytes is not too large"
            assert passes(host.name, far, mtu), f"{host.name}: a packet of {mtu} bytes is lost"
        read = ("exec", "-n", "workloads", "deployment/inference", "--", "/usr/bin/python3.11", "-c", MTU_OF_THE_WAY)
        assert int(cluster.kubectl(environment, *read, str(far), site=here)) == mtu - VXLAN


def passes(host: str, address: IPv4Address, size: int) -> bool:
    """Whether one of three packets of this size, headers and all, reaches an address whole and is answered."""
    command = f"ping -c 3 -i 0.2 -W 2 -M do -s {size - IP_AND_ICMP} {address} >&2; echo $?"
    return machines.run(host, "sh", "-c", command).strip() == "0"


def test_the_view_answers_for_both_sites(environment: str, settings: Environment) -> None:
    assert settings.cloud is not None
    clusters = {settings.onprem.cluster.name, settings.cloud.cluster.name}
    with watching.view(environment) as view:
        watching.eventually(
            180, lambda: clusters == heard(view) or None, lambda: f"heard of {heard(view)}, not of {clusters}"
        )
        targets = view.query(f'up{{cluster="{settings.cloud.cluster.name}"}}')
    jobs = {one["metric"]["job"] for one in targets}
    assert {"prometheus", "alive", "node", "inference", "replication", "api-server"} <= jobs
    assert {one["metric"]["prometheus_replica"] for one in targets} == {"prometheus-0"}


def test_a_cut_link_is_told_and_what_was_measured_meanwhile_arrives_afterwards(
    environment: str, settings: Environment, ingress: str
) -> None:
    assert settings.cloud is not None and settings.platform.monitoring
    far, far_end, node = settings.cloud.cluster.name, vpn(settings), sites.one(settings, "cloud").hosts[0].name
    hole_s = 2 * settings.platform.monitoring.scrape_seconds
    with watching.view(environment) as view:

        def state() -> str:
            about = [
                one
                for one in view.get("/api/v1/alerts")["data"]["alerts"]
                if one["labels"].items() >= {("alertname", "LinkDown"), ("cluster", far)}
            ]
            return about[0]["state"] if about else "none"

        watching.eventually(180, lambda: far in heard(view) or None, lambda: f"heard of {heard(view)}")
        watching.eventually(60, lambda: state() == "none" or None, state)
        before = time.time() - 2 * hole_s
        cut = time.monotonic()
        machines.power(environment, far_end, "cut")
        try:
            watching.eventually(TOLD_S, lambda: state() == "firing" or None, state)
            told = time.monotonic() - cut
            with watching.api(environment, "onprem", "svc/alertmanager", names.ALERTMANAGER_PORT) as alertmanager:
                watching.eventually(
                    60,
                    lambda: alertmanager.get("/api/v2/alerts", filter='alertname="LinkDown"') or None,
                    lambda: "Alertmanager knows of no LinkDown",
                )
            missing = longest_hole(view, far, before)
        finally:
            machines.power(environment, far_end, "heal")
        wait_for("the link", lambda: reaches(node, ingress))
        healed = time.monotonic()
        watching.eventually(OVER_S, lambda: state() == "none" or None, state)
        over = time.monotonic() - healed
        watching.eventually(
            OVER_S,
            lambda: longest_hole(view, far, before) <= hole_s or None,
            lambda: f"longest hole {longest_hole(view, far, before):.0f} s",
        )
        left = longest_hole(view, far, before)
    print(f"told {told:.0f} s after the cut, over {over:.0f} s after the link was back")
    print(f"longest hole in what the view has of {far}: {missing:.0f} s during the cut, {left:.0f} s afterwards")
    assert missing > 100, "something came through, or nothing was asked"


def heard(view: Api) -> set[str]:
    """Clusters of which the view has a sample of the last half minute."""
    found = view.query("time() - max by (cluster) (timestamp(up)) < 30")
    return {one["metric"]["cluster"] for one in found}


def longest_hole(view: Api, far: str, since: float) -> float:
    """Seconds between samples of a site's hosts, the worst of all series, from `since` (Unix time) to now."""
    now = time.time()
    found = view.query(f'up{{cluster="{far}", job="node"}}[{now - since:.0f}s]', time=str(now))
    assert found, f"the view has nothing of {far}"
    return max(
        after - before
        for series in found
        for before, after in pairwise([since, *(float(at) for at, _ in series["values"]), now])
    )


def test_one_of_the_two_tunnels_may_be_lost(settings: Environment, ingress: str) -> None:
    far_end = vpn(settings)

    def tunnels() -> int:
        return machines.run(far_end, "swanctl", "--list-sas").count("INSTALLED")

    def lose(seconds: float) -> None:
        machines.run(far_end, "ip", "link", "set", "eth1", "down")
        try:
            time.sleep(seconds)
        finally:
            machines.run(far_end, "ip", "link", "set", "eth1", "up")

    # With ESP in user space the tunnel that came last carries what goes through: now it is the one over eth1.
    lose(10)
    wait_for("both tunnels", lambda: tunnels() == 2)
    with polled_from(sites.one(settings, "cloud").hosts[0].name, f"{ingress}/v2/health/ready", 20) as answers:
        time.sleep(3)
        lose(14)
    print(f"the tunnel in use was lost: longest gap {answers['longest']:.2f} s; answers {answers['codes']}")
    assert 0.5 < answers["longest"] < 12, "was it the tunnel in use?"
    wait_for("both tunnels", lambda: tunnels() == 2)


def test_a_far_end_that_refuses_for_a_while_is_asked_again(settings: Environment, ingress: str) -> None:
    far_end, node, near_end = vpn(settings), sites.one(settings, "cloud").hosts[0].name, holder(settings)
    kept, away = "/etc/swanctl/conf.d/isthmus.conf", "/etc/swanctl/isthmus.conf.away"
    since = machines.run(near_end, "date", "+%s").strip()
    machines.run(far_end, "mv", kept, away)
    try:
        # As it is while it starts: there, and without its settings.
        machines.run(far_end, "systemctl", "restart", "strongswan")
        wait_for("a refusal", lambda: "NO_PROPOSAL_CHOSEN" in said(near_end, since))
        assert not reaches(node, ingress)
    finally:
        machines.run(far_end, "sh", "-c", f"mv {away} {kept} && swanctl --load-all")
    back = wait_for("the link", lambda: reaches(node, ingress), 30)
    print(f"the link carried again {back:.1f} s after the far end had its settings")
    wait_for("both tunnels", lambda: machines.run(far_end, "swanctl", "--list-sas").count("INSTALLED") == 2, 30)


def said(machine: str, since: str) -> str:
    """What strongSwan has said there since then (seconds of Unix time)."""
    return machines.run(machine, "journalctl", "-u", "strongswan", "--no-pager", "--since", f"@{since}")


def holder(settings: Environment) -> str:
    """The host with the API's floating address, which runs the tunnels."""
    address = str(settings.onprem.network.api_address)
    return next(
        host.name
        for host in settings.onprem.hosts
        if f" {address}/" in machines.run(host.name, "ip", "-o", "-4", "addr", "show")
    )


def test_the_link_moves_with_the_floating_address(settings: Environment, power, ingress: str) -> None:
    first = holder(settings)
    with polled_from(sites.one(settings, "cloud").hosts[0].name, f"{ingress}/v2/health/ready", 20) as answers:
        time.sleep(3)
        power(first, "power-off")
        time.sleep(15)
    print(f"{first} lost power: longest gap through the link {answers['longest']:.2f} s; answers {answers['codes']}")
    assert answers["longest"] < 15


@contextmanager
def polled_from(machine: str, url: str, seconds: int) -> Iterator[dict]:
    """Polls from a machine for that long, in which the caller breaks something; the answers are there afterwards."""
    source = Path(polling.__file__).read_text()
    after = f"""
import json
with Poller({url!r}, interval=0.05) as client:
    time.sleep({seconds})
print(json.dumps({{"longest": client.longest, "codes": client.codes, "answered": client.answered}}))
"""
    answers: dict = {}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(machines.run, machine, "python3", "-c", source + after)
        yield answers
        answers.update(json.loads(asked.result()))
    assert answers["answered"] > 0
