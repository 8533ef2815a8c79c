"""metrics-server as it is registered."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from infra.platform import cluster
from infra.platform.cluster import Cluster
from infra.platform.metrics_server import MetricsServer
from tests.infra import recording
from tests.infra.recording import Resource


def registered(facts: Cluster) -> list[Resource]:
    return recording.record(lambda: MetricsServer("metrics-server", cluster=facts, index=recording.index()))


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return registered(cluster.of_hosts(recording.local().onprem))


def spec(resources: list[Resource], kind: str, name: str = "metrics-server") -> dict[str, Any]:
    return recording.the(resources, kind, name).inputs["spec"]


def test_api_servers_verify_who_answers(resources: list[Resource]) -> None:
    service = spec(resources, "APIService")
    assert "insecureSkipTLSVerify" not in service
    assert base64.b64decode(service["caBundle"]) == b"certificate of metrics-server"
    where = service["service"]
    made = recording.the(resources, "Certificate", "metrics-server").inputs
    assert made["names"] == [f"{where['name']}.{where['namespace']}.svc"], "the name that API servers verify"


def test_the_key_is_a_secret_and_a_new_one_is_read(resources: list[Resource]) -> None:
    secret = recording.the(resources, "Secret", "metrics-server-tls").inputs
    assert recording.is_secret(secret["stringData"])
    template = spec(resources, "DaemonSet")["template"]
    assert template["metadata"]["annotations"]["isthmus.dev/certificate"]
    (volume,) = template["spec"]["volumes"]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]
    (container,) = template["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    for flag in ("tls-cert-file", "tls-private-key-file"):
        assert [one for one in container["args"] if one.startswith(f"--{flag}={mount['mountPath']}/tls.")]


def test_the_api_comes_after_somebody_answers_for_it(resources: list[Resource]) -> None:
    after = recording.the(resources, "APIService", "metrics-server").options.depends_on
    assert "metrics-server" in after


def test_each_api_server_asks_the_one_beside_it_and_nobody_else_can(resources: list[Resource]) -> None:
    """A Service with endpoints would let an API server wait for another host, and its clients with it."""
    service = spec(resources, "Service")
    assert (service["type"], service["externalName"]) == ("ExternalName", "localhost")
    assert spec(resources, "APIService")["service"]["port"] == 4443
    pod = recording.the(resources, "DaemonSet", "metrics-server").pod
    assert pod is not None
    assert pod["hostNetwork"]
    assert pod["nodeSelector"] == {"node-role.kubernetes.io/control-plane": ""}
    on_hosts = {"node-role.kubernetes.io/control-plane", "node.kubernetes.io/not-ready"}
    assert {one["key"] for one in pod["tolerations"]} == on_hosts, "it needs no pods' network"
    (container,) = pod["containers"]
    assert {"--bind-address=127.0.0.1", "--secure-port=4443"} <= set(container["args"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert (asked["host"], asked["port"], asked["scheme"]) == ("127.0.0.1", "https", "HTTPS")


def test_it_does_not_need_services_to_work(resources: list[Resource]) -> None:
    pod = recording.the(resources, "DaemonSet", "metrics-server").pod
    assert pod is not None
    where = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}
    assert where == {"KUBERNETES_SERVICE_HOST": "10.90.0.100", "KUBERNETES_SERVICE_PORT": "8443"}


def test_it_may_read_numbers_and_no_more(resources: list[Resource]) -> None:
    rules = recording.the(resources, "ClusterRole", "metrics-server").inputs["rules"]
    assert {resource for rule in rules for resource in rule["resources"]} == {"nodes/metrics", "nodes", "pods"}
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list", "watch"}
