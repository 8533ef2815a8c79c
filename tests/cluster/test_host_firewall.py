"""What reaches the hosts themselves: from where people look after the site, and from anywhere else.

On each site of lab machines. The cloud half's have no range of their own for those people: there anybody may be one.
"""

from __future__ import annotations

import socket
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address

import pytest

from infra.environment import Onprem
from ops import machines, sites
from ops.up import load
from tests.cluster.conftest import ENVIRONMENT

API, ETCD, ETCD_PEERS, KUBELET, NODE_EXPORTER = 6443, 2379, 2380, 10250, 9100

STRANGER = "192.0.2.1"
"""An address that no network has (RFC 5737); hosts answer it by their gateway, which is this machine."""

WAIT_S = 2.0


@pytest.fixture(scope="module", params=sites.of(load(ENVIRONMENT)))
def site(environment: str, request: pytest.FixtureRequest) -> Onprem:
    return sites.one(load(environment), request.param)


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """This machine at an address outside the ranges of those who look after the site."""
    address = ["address", f"{STRANGER}/32", "dev", "lo"]
    subprocess.run(["ip", address[0], "add", *address[1:]], check=True)
    yield STRANGER
    subprocess.run(["ip", address[0], "del", *address[1:]], check=True)


def let_in(address: str, port: int, source: str) -> bool:
    """Whether a connection gets an answer: that it is refused is one too."""
    try:
        socket.create_connection((address, port), timeout=WAIT_S, source_address=(source, 0)).close()
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False
    return True


def open_ports(site: Onprem, source: str) -> dict[str, set[int]]:
    """Of the ports at which each host listens beyond itself, those that let the source in."""
    asked = [(host, port) for host in site.hosts for port in listening(host.name)]
    with ThreadPoolExecutor(32) as pool:
        answers = pool.map(lambda one: let_in(str(one[0].address), one[1], source), asked)
        found: dict[str, set[int]] = {host.name: set() for host in site.hosts}
        for (host, port), answer in zip(asked, answers, strict=True):
            if answer:
                found[host.name].add(port)
    return found


def looked_after(site: Onprem) -> dict[str, set[int]]:
    """The ports of each host for those who look after the site."""
    planes = {host.name for host in site.having("control_plane")}
    return {host.name: {site.ssh.port} | ({API} if host.name in planes else set()) for host in site.hosts}


def confined(site: Onprem) -> bool:
    """Whether the stranger is not one of those."""
    return not any(IPv4Address(STRANGER) in cidr for cidr in site.network.admin_cidrs)


def anybodys(site: Onprem) -> dict[str, set[int]]:
    """The ports of each host for anybody."""
    return {host.name: set() for host in site.hosts} if confined(site) else looked_after(site)


def listening(name: str) -> set[int]:
    """The TCP ports of a host that are not of its loopback device alone; what floats is not the host's own."""
    lines = machines.run(name, "ss", "-ltnH").splitlines()
    local = [line.split()[3].rpartition(":") for line in lines]
    floating = machines.run(name, "ip", "-o", "-4", "address", "show", "dev", "lo")
    return {int(port) for at, _, port in local if not at.startswith(("127.", "[::1]")) and f" {at}/" not in floating}


def test_the_ports_that_are_to_be_closed_are_listened_at(site: Onprem) -> None:
    """Else the tests below would prove nothing."""
    for host in site.hosts:
        assert listening(host.name) >= {site.ssh.port, KUBELET, NODE_EXPORTER}
    for host in site.having("control_plane"):
        assert listening(host.name) >= {API, ETCD, ETCD_PEERS}


def test_who_looks_after_the_site_reaches_ssh_and_the_api_servers_and_nothing_else(site: Onprem) -> None:
    assert open_ports(site, str(site.network.gateway)) == looked_after(site)


def test_a_stranger_reaches_what_the_site_serves_and_no_host(site: Onprem, stranger: str) -> None:
    network = site.network
    assert open_ports(site, stranger) == anybodys(site)
    assert let_in(str(network.api_address), network.api_port, stranger)
    assert let_in(str(network.ingress_address), network.ingress_port, stranger)
    if confined(site):
        assert not let_in(str(network.api_address), API, stranger), "a host's own port, by the address that it holds"


def test_rules_of_the_sites_own_are_kept(site: Onprem, stranger: str) -> None:
    host = site.hosts[0]
    rule = f"/etc/isthmus/firewall.d/{uuid.uuid4().hex[:8]}.nft"
    write = f"mkdir -p {rule.rpartition('/')[0]}; echo 'ip saddr {stranger} tcp dport {KUBELET} accept' > {rule}"
    before = anybodys(site)[host.name]
    try:
        machines.run(host.name, "sh", "-ec", f"{write}; systemctl reload isthmus-firewall")
        assert open_ports(site, stranger)[host.name] == before | {KUBELET}
    finally:
        machines.run(host.name, "sh", "-ec", f"rm -f {rule}; systemctl reload isthmus-firewall")
    assert open_ports(site, stranger)[host.name] == before
