"""Addresses and URLs follow from the network alone."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from infra import addressing
from tests.infra import recording

NETWORK = recording.local().onprem.network


def test_a_mac_is_locally_administered_and_holds_the_address() -> None:
    assert addressing.mac(IPv4Address("10.90.0.11")) == "02:00:0a:5a:00:0b"


def test_two_addresses_never_share_a_mac() -> None:
    hosts = list(IPv4Network("10.90.0.0/22").hosts())
    assert len({addressing.mac(host) for host in hosts}) == len(hosts)


def test_the_api_is_reached_by_its_floating_address() -> None:
    assert addressing.api_url(NETWORK) == "https://10.90.0.100:8443"


def test_the_ingress_url_names_its_port_unless_it_is_the_usual_one() -> None:
    assert addressing.ingress_url(NETWORK) == "http://10.90.0.101"
    assert addressing.ingress_url(NETWORK.model_copy(update={"ingress_port": 8080})) == "http://10.90.0.101:8080"


def test_the_mirror_is_reached_on_its_own_address() -> None:
    assert addressing.mirror_url(NETWORK) == "http://10.90.0.2:5000"
