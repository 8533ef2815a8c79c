"""Facts of a cluster that follow from its environment and its hosts."""

from __future__ import annotations

from pathlib import Path

from infra import environment
from infra.paths import ROOT
from infra.platform import cluster
from tests.infra import recording


def test_lab_machines_of_a_hybrid_host_have_cgroup_v2_beside_v1(tmp_path: Path) -> None:
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.procs").touch()
    assert cluster.of_hosts(recording.local().onprem, tmp_path).cgroup_root == f"{tmp_path}/unified"


def test_lab_machines_of_an_ordinary_host_have_cgroup_v2_alone(tmp_path: Path) -> None:
    assert cluster.of_hosts(recording.local().onprem, tmp_path).cgroup_root == str(tmp_path)


def test_the_mounts_of_this_machine_say_nothing_about_other_hosts(tmp_path: Path) -> None:
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.procs").touch()
    environment = recording.local()
    hosts = environment.onprem.model_copy(update={"provisioner": "hosts"})
    assert cluster.cgroup_mount(hosts, tmp_path) == str(tmp_path)


def test_fixed_addresses_are_in_the_part_of_the_range_that_kubernetes_keeps_for_them() -> None:
    facts = cluster.of_hosts(recording.local().onprem)
    assert str(facts.dns_address) == "10.96.0.10"
    # 16 is the least that Kubernetes keeps, for the smallest range that an environment may have.
    assert cluster.OBJECT_STORE_OFFSET + 3 <= 16


def test_at_amazon_the_file_says_what_aws_does_not() -> None:
    prod = environment.load(ROOT / "environments" / "prod.yaml")
    assert prod.cloud
    facts = cluster.of_eks(prod.cloud, prod.onprem.network.cidr, "api.example")
    assert len(facts.workers) == 3, "nodes with taints do not take any pod"
    assert (facts.api_port, facts.api_server_port) == (443, 443)
    assert [str(cidr) for cidr in facts.senders] == ["10.32.0.0/16", "10.72.0.0/14", "10.20.0.0/24"]
    assert not facts.load_balancers and not facts.linked
