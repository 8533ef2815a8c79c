"""Requests a second for autoscalers, as they are registered."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml

from infra.platform import cluster
from infra.platform.monitoring import Monitoring, MonitoringArgs, custom_metrics
from tests.infra import recording
from tests.infra.recording import Resource

APP = "prometheus-adapter"


def registered(*, scrape_seconds: int = 30) -> list[Resource]:
    local = recording.local()
    assert local.platform.monitoring
    args = MonitoringArgs(
        cluster=cluster.of_hosts(local.onprem),
        settings=local.platform.monitoring.model_copy(update={"scrape_seconds": scrape_seconds}),
        persistent=True,
        index=recording.index(),
        for_autoscalers=True,
    )
    return recording.record(lambda: Monitoring("monitoring", args))


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return registered()


def spec(resources: list[Resource], kind: str, name: str = APP) -> dict[str, Any]:
    return recording.the(resources, kind, name).inputs["spec"]


def container(resources: list[Resource]) -> dict[str, Any]:
    pod = recording.the(resources, "DaemonSet", APP).pod
    assert pod is not None
    (found,) = pod["containers"]
    return found


def test_each_api_server_asks_the_one_beside_it_and_nobody_else_can(resources: list[Resource]) -> None:
    pod = recording.the(resources, "DaemonSet", APP).pod
    assert pod is not None
    assert pod["hostNetwork"]
    assert pod["nodeSelector"] == {"node-role.kubernetes.io/control-plane": ""}
    service, api = spec(resources, "Service"), spec(resources, "APIService")
    assert (service["type"], service["externalName"]) == ("ExternalName", "localhost")
    assert api["service"]["port"] == 4445, "not metrics-server's, which is on the same hosts"
    assert {"--bind-address=127.0.0.1", "--secure-port=4445"} <= set(container(resources)["args"])
    assert base64.b64decode(api["caBundle"]) == f"certificate of {APP}".encode()
    assert APP in recording.the(resources, "APIService", APP).options.depends_on, "discovery waits for who is not there"


def test_it_asks_prometheus_at_an_address_that_does_not_change_and_needs_no_name(resources: list[Resource]) -> None:
    service = spec(resources, "Service", "prometheus-queried")
    assert service["clusterIP"] == "10.96.0.8"
    assert f"--prometheus-url=http://{service['clusterIP']}:9090" in container(resources)["args"]
    selected = service["selector"]
    prometheus = spec(resources, "StatefulSet", "prometheus")["template"]["metadata"]["labels"]
    assert selected.items() <= prometheus.items()


def test_prometheus_lets_hosts_of_the_site_in_at_its_port_and_nobody_else(resources: list[Resource]) -> None:
    policy = spec(resources, "NetworkPolicy", "monitoring-prometheus-queried")
    assert policy["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
    assert policy["egress"] == []
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": 9090, "protocol": "TCP"}]
    # Of the pods' range Cilium takes the addresses of hosts alone.
    assert rule["from"] == [{"ipBlock": {"cidr": cidr}} for cidr in ("10.90.0.0/24", "10.244.0.0/16")]


def rule(resources: list[Resource]) -> dict[str, Any]:
    """The only rule of the file that the program reads."""
    (made,) = [one for one in resources if one.kind == "ConfigMap" and one.name == APP]
    pod = recording.the(resources, "DaemonSet", APP).pod
    assert pod is not None
    (volume,) = [one for one in pod["volumes"] if "configMap" in one]
    assert volume["configMap"]["name"] == made.inputs["metadata"]["name"], "a change of it starts the pods anew"
    (mount,) = [one for one in container(resources)["volumeMounts"] if one["name"] == volume["name"]]
    ((file, text),) = made.inputs["data"].items()
    assert f"--config={mount['mountPath']}/{file}" in container(resources)["args"]
    (found,) = yaml.safe_load(text)["rules"]
    return found


def test_it_tells_requests_for_predictions_of_pods(resources: list[Resource]) -> None:
    found = rule(resources)
    assert found["seriesQuery"] == 'isthmus_inference_requests_total{job="inference"}'
    assert found["name"] == {"as": "inference_requests_per_second"}
    assert found["resources"]["overrides"]["instance"] == {"resource": "pod"}


@pytest.mark.parametrize(("scrape_seconds", "window"), [(30, "[120s]"), (10, "[40s]")])
def test_a_rate_is_made_of_several_looks(scrape_seconds: int, window: str) -> None:
    assert window in rule(registered(scrape_seconds=scrape_seconds))["metricsQuery"]


def test_what_it_counts_is_what_inference_tells() -> None:
    metrics = (recording.ROOT / "workloads" / "inference" / "src" / "isthmus_inference" / "metrics.py").read_text()
    assert f'Counter("{custom_metrics.COUNTER.removesuffix("_total")}"' in metrics


def test_it_may_list_pods_and_no_more(resources: list[Resource]) -> None:
    rules = recording.the(resources, "ClusterRole", APP).inputs["rules"]
    assert rules == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]


def test_who_may_view_a_namespace_may_see_its_requests_and_nothing_else_there(resources: list[Resource]) -> None:
    role = recording.the(resources, "ClusterRole", "isthmus:custom-metrics-reader").inputs
    assert role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert role["rules"] == [
        {
            "apiGroups": ["custom.metrics.k8s.io"],
            "resources": ["pods/inference_requests_per_second"],
            "verbs": ["get"],
        }
    ]


def test_without_autoscalers_that_ask_there_is_none_and_prometheus_stays_closed_to_hosts() -> None:
    local = recording.local()
    assert local.platform.monitoring
    args = MonitoringArgs(
        cluster=cluster.of_hosts(local.onprem),
        settings=local.platform.monitoring,
        persistent=True,
        index=recording.index(),
    )
    found = recording.record(lambda: Monitoring("monitoring", args))
    assert not [one for one in found if one.name in (APP, "monitoring-prometheus-queried", "prometheus-queried")]
    assert "10.96.0.8" not in json.dumps([one.inputs for one in found])
