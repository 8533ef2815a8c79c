"""Cilium's settings, and what its real chart makes of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pulumi
import pytest

from infra import environment, naming
from infra.artifacts import Index
from infra.paths import ROOT
from infra.platform import chart, cilium, cilium_values, cluster
from infra.platform.monitoring import names, scraping
from tests.infra import recording

FACTS = cluster.of_hosts(recording.local().onprem)


def values(facts: cluster.Cluster = FACTS) -> dict[str, Any]:
    return cilium_values.values(facts, "10.90.0.100", agent_image="agent@sha256:1", operator_image="operator@sha256:2")


def test_agents_reach_the_api_by_its_floating_address() -> None:
    assert (values()["k8sServiceHost"], values()["k8sServicePort"]) == ("10.90.0.100", 8443)


def test_the_agent_is_not_privileged_and_has_no_capability_that_changes_the_host() -> None:
    context = values()["securityContext"]
    assert context["privileged"] is False
    assert not {"SYS_MODULE", "SYS_RESOURCE"} & set(context["capabilities"]["ciliumAgent"])


def test_a_policy_can_name_nodes_by_address() -> None:
    assert values()["policyCIDRMatchMode"] == ["nodes"], "the ingress' policy names the load balancers by their range"


def test_where_hosts_end_tunnels_pods_packets_pass_the_hosts_rules() -> None:
    """One of these gives them the host's address, without which the other site has no answer for them."""
    linked = values(dataclasses.replace(FACTS, linked=True))
    assert linked["bpf"]["hostLegacyRouting"] is True and linked["devices"] == ["!ipsec+"]
    assert values()["bpf"]["hostLegacyRouting"] is False, "the longer way costs something"


def at_amazon() -> cluster.Cluster:
    prod = environment.load(ROOT / "environments" / "prod.yaml")
    assert prod.cloud
    return cluster.of_eks(prod.cloud, prod.onprem.network.cidr, "api.example")


def test_where_amazon_runs_kubernetes_cilium_divides_the_pods_range_and_makes_no_load_balancers() -> None:
    found = values(at_amazon())
    pool = {"clusterPoolIPv4PodCIDRList": ["10.72.0.0/14"], "clusterPoolIPv4MaskSize": 24}
    assert found["ipam"] == {"mode": "cluster-pool", "operator": pool}
    assert found["defaultLBServiceIPAM"] == "none"
    assert "devices" not in found, "nodes at Amazon end no tunnels"
    assert values()["ipam"] == {"mode": "kubernetes"} and "defaultLBServiceIPAM" not in values()


def test_nodes_of_amazon_have_features_as_modules() -> None:
    context = values(at_amazon())["securityContext"]
    assert {"SYS_MODULE", "SYS_RESOURCE"} < set(context["capabilities"]["ciliumAgent"])
    assert context["privileged"] is False


def test_the_apis_host_is_told_when_aws_says_it() -> None:
    """The chart is rendered before that, since a preview shows every object."""
    chart_ = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "it", "namespace": "kube-system"},
            "data": {"host": cilium.API_HOST, "url": f"https://{cilium.API_HOST}:443", "other": "as it is"},
        }
    ]

    def program() -> None:
        host = pulumi.Output.from_input("abc.eks.example")
        facts = dataclasses.replace(at_amazon(), api_host=host)
        cilium.Cilium("cilium", cluster=facts, index=recording.index(), kubernetes_version="v1.35.0")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cilium, "objects", lambda *_: chart_)
        made = recording.the(recording.record(program), "ConfigMap", "configmap-kube-system-it").inputs
    assert made["data"] == {"host": "abc.eks.example", "url": "https://abc.eks.example:443", "other": "as it is"}


@pytest.fixture(scope="module")
def objects() -> list[chart.Manifest]:
    """The real chart, from the mirror."""
    return cilium.objects(FACTS, Index.load(), recording.local().kubernetes.version)


@pytest.mark.apiserver
def test_rendering_twice_gives_the_same_objects(objects: list[chart.Manifest], tmp_path: Any) -> None:
    index = Index.load()
    again = chart.render(
        index.artifact("cilium-chart"),
        index.artifact("helm"),
        release="cilium",
        namespace=cilium.NAMESPACE,
        kubernetes_version=recording.local().kubernetes.version,
        values=cilium_values.values(
            FACTS,
            str(FACTS.api_host),
            agent_image=image_of(objects, "DaemonSet"),
            operator_image=image_of(objects, "Deployment"),
        ),
        cache=tmp_path,
    )
    assert [one for one in again if not cilium.unused(one)] == objects


@pytest.mark.apiserver
def test_the_chart_makes_no_certificates(objects: list[chart.Manifest]) -> None:
    assert not [one for one in objects if one["kind"] == "Secret"], "they would differ at each rendering"


@pytest.mark.apiserver
def test_the_chart_runs_our_images_alone(objects: list[chart.Manifest]) -> None:
    for one in objects:
        pod = one.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            assert "@sha256:" in container["image"]


def image_of(objects: list[chart.Manifest], kind: str) -> str:
    (one,) = (one for one in objects if one["kind"] == kind)
    return str(one["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.mark.apiserver
def test_the_agents_own_devices_are_there_before_it(objects: list[chart.Manifest]) -> None:
    (agent,) = [one for one in objects if one["kind"] == "DaemonSet"]
    pod = agent["spec"]["template"]["spec"]
    made = pod["initContainers"][-1]
    assert made["name"] == "make-base-devices" and made["image"] == pod["containers"][0]["image"]
    assert made["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert pod["hostNetwork"] is True, "they are the host's"
    (config,) = [one for one in objects if one["metadata"]["name"] == "cilium-config"]
    assert config["data"]["tunnel-protocol"] == "vxlan", "of another kind it would make its own"
    assert "tunnel-port" not in config["data"], "8472 is the kernel's and the chart's"


@pytest.mark.apiserver
def test_agents_tell_prometheus_where_it_asks_and_offer_their_flows_to_nobody(objects: list[chart.Manifest]) -> None:
    (agent,) = [one for one in objects if one["kind"] == "DaemonSet"]
    template = agent["spec"]["template"]
    asked = {(app.app, app.port): app for app in scraping.APPS if app.app == names.CILIUM}
    assert template["metadata"]["labels"]["app.kubernetes.io/name"] == names.CILIUM
    offered = {port["name"]: port["containerPort"] for one in template["spec"]["containers"] for port in one["ports"]}
    assert {port for _, port in asked} == {"prometheus", "hubble-metrics"} <= offered.keys()
    assert (offered["prometheus"], offered["hubble-metrics"]) == (
        naming.CILIUM_METRICS_PORT,
        naming.HUBBLE_METRICS_PORT,
    )
    (config,) = [one for one in objects if one["metadata"]["name"] == "cilium-config"]
    assert "hubble-listen-address" not in config["data"]
    assert not [one for one in objects if one["kind"] == "Service"]
