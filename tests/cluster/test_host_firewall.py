"""What reaches the hosts themselves: from where people look after the site, and from anywhere else."""

from __future__ import annotations

import socket
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.environment import Environment
from ops import machines
from ops.up import load

API, ETCD, ETCD_PEERS, KUBELET, NODE_EXPORTER = 6443, 2379, 2380, 10250, 9100

STRANGER = "192.0.2.1"
"""An address that no network has (RFC 5737); hosts answer it by their gateway, which is this machine."""

WAIT_S = 2.0


@pytest.fixture(scope="module")
def settings(environment: str) -> Environment:
    return load(environment)


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


def open_ports(settings: Environment, source: str) -> dict[str, set[int]]:
    """Of the ports at which each host listens beyond itself, those that let the source in."""
    asked = [(host, port) for host in settings.onprem.hosts for port in listening(host.name)]
    with ThreadPoolExecutor(32) as pool:
        answers = pool.map(lambda one: let_in(str(one[0].address), one[1], source), asked)
        found: dict[str, set[int]] = {host.name: set() for host in settings.onprem.hosts}
        for (host, port), answer in zip(asked, answers, strict=True):
            if answer:
                found[host.name].add(port)
    return found


def listening(name: str) -> set[int]:
    """The TCP ports of a host that are not of its loopback device alone; what floats is not the host's own."""
    lines = machines.run(name, "ss", "-ltnH").splitlines()
    local = [line.split()[3].rpartition(":") for line in lines]
    floating = machines.run(name, "ip", "-o", "-4", "address", "show", "dev", "lo")
    return {int(port) for at, _, port in local if not at.startswith(("127.", "[::1]")) and f" {at}/" not in floating}


def test_the_ports_that_are_to_be_closed_are_listened_at(settings: Environment) -> None:
    """Else the tests below would prove nothing."""
    for host in settings.onprem.having("control_plane"):
        assert listening(host.name) >= {settings.onprem.ssh.port, API, ETCD, ETCD_PEERS, KUBELET, NODE_EXPORTER}


def test_who_looks_after_the_site_reaches_ssh_and_the_api_servers_and_nothing_else(settings: Environment) -> None:
    gateway = str(settings.onprem.network.gateway)
    planes = {host.name for host in settings.onprem.having("control_plane")}
    assert open_ports(settings, gateway) == {
        host.name: {settings.onprem.ssh.port} | ({API} if host.name in planes else set())
        for host in settings.onprem.hosts
    }


def test_a_stranger_reaches_what_the_site_serves_and_no_host(settings: Environment, stranger: str) -> None:
    network = settings.onprem.network
    assert open_ports(settings, stranger) == {host.name: set() for host in settings.onprem.hosts}
    assert let_in(str(network.api_address), network.api_port, stranger)
    assert let_in(str(network.ingress_address), network.ingress_port, stranger)
    assert not let_in(str(network.api_address), API, stranger), "a host's own port, by the address that it holds"


def test_rules_of_the_sites_own_are_kept(settings: Environment, stranger: str) -> None:
    host = settings.onprem.hosts[0]
    rule = f"/etc/isthmus/firewall.d/{uuid.uuid4().hex[:8]}.nft"
    write = f"mkdir -p {rule.rpartition('/')[0]}; echo 'ip saddr {stranger} tcp dport {KUBELET} accept' > {rule}"
    try:
        machines.run(host.name, "sh", "-ec", f"{write}; systemctl reload isthmus-firewall")
        assert open_ports(settings, stranger)[host.name] == {KUBELET}
    finally:
        machines.run(host.name, "sh", "-ec", f"rm -f {rule}; systemctl reload isthmus-firewall")
    assert open_ports(settings, stranger)[host.name] == set()
