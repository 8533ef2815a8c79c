"""An environment asks the mirror for what it uses, and for no more."""

from __future__ import annotations

from infra import environment, naming, requested
from infra.environment import Environment
from infra.paths import ROOT
from infra.platform.csi import lab_driver
from tests.infra import recording

PLAIN = ROOT / "tests" / "environments" / "valid" / "single-control-plane.yaml"


def of(name: str) -> Environment:
    return environment.load(ROOT / "environments" / f"{name}.yaml")


def test_a_lab_asks_for_its_own_driver_simulated_devices_monitoring_and_the_page() -> None:
    wanted = {*naming.LAB_STORAGE, *naming.SNAPSHOTS, *naming.MONITORING, naming.STATUS, "prometheus-adapter"}
    simulated = {"sample-device-plugin", "dra-example-driver"}
    assert requested.artifacts(recording.local()) == sorted(wanted | simulated)
    assert {*lab_driver.SIDECARS, "lab-csi"} == {*naming.LAB_STORAGE}


def test_real_hosts_ask_for_what_binds_snapshots_for_nvidias_plugin_monitoring_and_the_page() -> None:
    wanted = {*naming.SNAPSHOTS, *naming.MONITORING, naming.STATUS, "nvidia-device-plugin"}
    assert requested.artifacts(of("prod")) == sorted({*wanted, naming.MESH_IMAGE, "prometheus-adapter", "grafana"})


def test_two_sites_ask_for_what_joins_their_clusters() -> None:
    more = {*requested.artifacts(recording.hybrid())} - {*requested.artifacts(recording.local())}
    assert more == {"clustermesh-apiserver"}


def test_who_does_not_scale_by_requests_asks_for_nobody_who_tells_them() -> None:
    assert recording.hybrid().workloads.inference.autoscaling is None
    assert "prometheus-adapter" not in requested.artifacts(recording.hybrid())


def test_dashboards_are_asked_for_where_the_file_has_the_key_and_no_lab_has_it() -> None:
    for name, has in (("local", False), ("hybrid", False), ("staging", True), ("prod", True)):
        assert (naming.GRAFANA in requested.artifacts(of(name))) is has, name


def test_without_storage_accelerators_monitoring_and_page_nothing_is_asked_for() -> None:
    assert requested.artifacts(environment.load(PLAIN)) == []
