"""Which nodes have which accelerators, from the environment file alone."""

from __future__ import annotations

from infra import environment, nodes
from infra.accelerators import Accelerator
from infra.environment import Environment
from infra.paths import ROOT
from tests.infra import recording


def of(name: str) -> Environment:
    return environment.load(ROOT / "environments" / f"{name}.yaml")


def test_an_offer_has_the_taints_of_its_nodes() -> None:
    for site in nodes.SITES:
        (offer,) = nodes.offers(of("prod"), site)
        assert offer.taints == ("nvidia.com/gpu=present:NoSchedule",)


def test_each_site_of_the_lab_has_the_simulated_ones() -> None:
    hybrid = recording.hybrid()
    for site in nodes.SITES:
        assert [one.accelerator.name for one in nodes.offers(hybrid, site)] == ["simulated", "simulated-dra"]
    assert nodes.offers(recording.local(), "cloud") == ()


def test_a_group_offers_also_while_it_has_no_nodes() -> None:
    prod = of("prod")
    assert prod.cloud is not None
    assert all(group.desired == 0 for group in prod.cloud.node_groups if group.accelerator == "nvidia")
    assert nodes.offers(prod, "cloud")


def test_only_gpu_hosts_get_nvidias_driver() -> None:
    assert nodes.nvidia_hosts(of("prod")) == ("gpu-1", "gpu-2")
    assert nodes.nvidia_hosts(of("staging")) == ("staging-gpu-1",)
    assert nodes.nvidia_hosts(recording.local()) == ()


def test_the_names_of_parts_are_offered_only_where_parts_have_names() -> None:
    def offered(strategy: str, resource: str) -> bool:
        return Accelerator.model_validate(
            {"name": "gpu", "plugin": "nvidia", "node_selector": {"gpu": "yes"}, "mig_strategy": strategy}
        ).offers(resource)

    assert offered("mixed", "nvidia.com/mig-1g.10gb")
    assert not offered("mixed", "nvidia.com/mig-large")
    assert not offered("single", "nvidia.com/mig-1g.10gb")
    assert all(offered(strategy, "nvidia.com/gpu") for strategy in ("none", "single", "mixed"))
