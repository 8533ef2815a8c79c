"""What autoscaling stands on: numbers from metrics-server, and an autoscaler that gets them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

import pytest

from infra.platform import metrics_server
from ops import cluster, machines, sites
from ops.console import Failure
from ops.up import load

ENVIRONMENT = os.environ.get("ISTHMUS_ENV", "local")
SITES = list(sites.of(load(ENVIRONMENT)))

FIRST_READINGS_S = 150.0
"""A pod that has just started is known after two readings, 30 s apart, and to the autoscaler at its next turn."""


def eventually(holds: Callable[[], None]) -> None:
    """Passes once `holds` does; what it lacked in the end is the test's failure."""
    deadline = time.monotonic() + FIRST_READINGS_S
    while True:
        try:
            return holds()
        except (AssertionError, Failure):
            if time.monotonic() > deadline:
                raise
            time.sleep(5)


@pytest.mark.parametrize("site", SITES)
def test_kubectl_top_knows_every_node(environment: str, site: str) -> None:
    rows = cluster.kubectl(environment, "top", "nodes", "--no-headers", site=site).splitlines()
    used = {row.split()[0]: row.split()[1] for row in rows}
    assert set(used) == {host.name for host in sites.one(load(environment), site).hosts}
    for node, cores in used.items():
        assert cores.endswith("m") and int(cores[:-1]) > 0, f"{node} uses {cores}"


@pytest.mark.parametrize("site", SITES)
def test_kubectl_top_knows_every_pod_of_the_model(environment: str, site: str) -> None:
    model = ("-n", "workloads", "-l", "app.kubernetes.io/name=inference")

    def known() -> None:
        rows = cluster.kubectl(environment, "top", "pods", *model, "--no-headers", site=site).splitlines()
        running = {pod["metadata"]["name"] for pod in cluster.items(environment, "pods", *model, site=site)}
        assert {row.split()[0] for row in rows} == running

    eventually(known)


@pytest.mark.parametrize("site", SITES)
def test_api_servers_verify_metrics_server_and_find_it_available(environment: str, site: str) -> None:
    name = ("apiservice", "v1beta1.metrics.k8s.io")
    api = json.loads(cluster.kubectl(environment, "get", *name, "-o", "json", site=site))
    assert api["spec"].get("insecureSkipTLSVerify", False) is False
    assert api["spec"]["caBundle"]
    assert {c["type"]: c["status"] for c in api["status"]["conditions"]}["Available"] == "True"


def test_metrics_server_is_heard_by_its_own_host_alone() -> None:
    port = f":{metrics_server.PORT}"
    for host in load(ENVIRONMENT).onprem.having("control_plane"):
        sockets = machines.run(host.name, "ss", "--listening", "--tcp", "--numeric", "--no-header").splitlines()
        assert [row.split()[3] for row in sockets if row.split()[3].endswith(port)] == [f"127.0.0.1{port}"]


@pytest.mark.skipif(load(ENVIRONMENT).workloads.inference.autoscaling is None, reason="a fixed number of replicas")
@pytest.mark.parametrize("site", SITES)
def test_the_autoscaler_of_the_model_has_a_number_to_go_by(environment: str, site: str) -> None:
    name = ("hpa", "inference", "-n", "workloads")

    def active() -> None:
        status = json.loads(cluster.kubectl(environment, "get", *name, "-o", "json", site=site))["status"]
        conditions = {c["type"]: c for c in status["conditions"]}
        for condition in ("AbleToScale", "ScalingActive"):
            assert conditions[condition]["status"] == "True", conditions[condition]["message"]
        (metric,) = status["currentMetrics"]
        assert metric["resource"]["name"] == "cpu"
        assert metric["resource"]["current"]["averageValue"]

    eventually(active)
