"""What autoscaling stands on: numbers from metrics-server and Prometheus, and an autoscaler that gets them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

import pytest

from infra.naming import REQUESTS_METRIC
from infra.platform import metrics_server
from infra.platform.monitoring import custom_metrics
from ops import cluster, machines, sites
from ops.console import Failure
from ops.up import load
from tests.cluster import scaling

ENVIRONMENT = os.environ.get("ISTHMUS_ENV", "local")
SITES = list(sites.of(load(ENVIRONMENT)))
INFERENCE = load(ENVIRONMENT).workloads.inference
BY_REQUESTS = INFERENCE.scales_by_requests
ASKED = {"v1beta1.metrics.k8s.io": metrics_server.PORT}
"""API -> where the program that answers for it is heard."""
if BY_REQUESTS:
    ASKED[f"{custom_metrics.VERSION}.{custom_metrics.GROUP}"] = custom_metrics.PORT

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


@pytest.mark.parametrize("api_service", ASKED)
@pytest.mark.parametrize("site", SITES)
def test_api_servers_verify_who_answers_and_find_them_available(environment: str, site: str, api_service: str) -> None:
    api = json.loads(cluster.kubectl(environment, "get", "apiservice", api_service, "-o", "json", site=site))
    assert api["spec"].get("insecureSkipTLSVerify", False) is False
    assert api["spec"]["caBundle"]
    assert {c["type"]: c["status"] for c in api["status"]["conditions"]}["Available"] == "True"


@pytest.mark.parametrize("number", ASKED.values(), ids=ASKED)
def test_who_answers_is_heard_by_its_own_host_alone(number: int) -> None:
    port = f":{number}"
    for host in load(ENVIRONMENT).onprem.having("control_plane"):
        sockets = machines.run(host.name, "ss", "--listening", "--tcp", "--numeric", "--no-header").splitlines()
        assert [row.split()[3] for row in sockets if row.split()[3].endswith(port)] == [f"127.0.0.1{port}"]


@pytest.mark.skipif(not BY_REQUESTS, reason="the number of replicas does not follow requests")
@pytest.mark.parametrize("site", SITES)
def test_each_api_server_tells_the_requests_of_each_replica(environment: str, site: str) -> None:
    """So each of them has somebody beside it, who reaches Prometheus on whichever host it is."""
    model = ("-n", "workloads", "-l", "app.kubernetes.io/name=inference")
    for host in sites.one(load(environment), site).having("control_plane"):

        def told(server: str = f"https://{host.address}:6443") -> None:
            found = scaling.requests(environment, site=site, server=server)
            assert set(found) == {
                pod["metadata"]["name"] for pod in cluster.items(environment, "pods", *model, site=site)
            }
            assert all(number >= 0 for number in found.values()), found

        eventually(told)


@pytest.mark.skipif(INFERENCE.autoscaling is None, reason="a fixed number of replicas")
@pytest.mark.parametrize("site", SITES)
def test_the_autoscaler_of_the_model_has_numbers_to_go_by(environment: str, site: str) -> None:
    assert INFERENCE.autoscaling
    name = ("hpa", "inference", "-n", "workloads")
    wanted = {REQUESTS_METRIC} if BY_REQUESTS else set()
    wanted |= {"cpu"} if INFERENCE.autoscaling.target_cpu else set()

    def active() -> None:
        status = json.loads(cluster.kubectl(environment, "get", *name, "-o", "json", site=site))["status"]
        conditions = {c["type"]: c for c in status["conditions"]}
        for condition in ("AbleToScale", "ScalingActive"):
            assert conditions[condition]["status"] == "True", conditions[condition]["message"]
        assert set(scaling.averages(environment, site=site)) == wanted

    eventually(active)
