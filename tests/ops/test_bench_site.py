"""The machines of the benchmarks are an environment like the one that they are made after, elsewhere."""

from __future__ import annotations

from infra.environment import Environment
from ops.bench import site
from ops.up import load


def test_the_environment_of_the_benchmark_is_a_valid_one_with_all_its_addresses_elsewhere() -> None:
    moved = site.moved(load("local"))
    network = moved.onprem.network
    assert Environment.model_validate(moved.model_dump()) == moved
    own = {host.address for host in moved.onprem.hosts} | {network.gateway, network.mirror_address}
    assert all(address in site.CIDR for address in own | {network.api_address, network.ingress_address})
    # Ansible comes from the gateway: the firewall of the hosts must not lock it out.
    assert any(network.gateway in cidr for cidr in network.admin_cidrs)
