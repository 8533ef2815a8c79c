"""Cilium's settings, and what its real chart makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from infra.artifacts import Index
from infra.platform import chart, cilium, cilium_values, cluster
from tests.infra import recording

FACTS = cluster.of_hosts(recording.local().onprem)


def values(facts: cluster.Cluster = FACTS) -> dict[str, Any]:
    return cilium_values.values(facts, agent_image="agent@sha256:1", operator_image="operator@sha256:2")


def test_agents_reach_the_api_by_its_floating_address() -> None:
    assert (values()["k8sServiceHost"], values()["k8sServicePort"]) == ("10.90.0.100", 8443)


def test_the_agent_is_not_privileged_and_has_no_capability_that_changes_the_host() -> None:
    context = values()["securityContext"]
    assert context["privileged"] is False
    assert not {"SYS_MODULE", "SYS_RESOURCE"} & set(context["capabilities"]["ciliumAgent"])


def test_a_policy_can_name_nodes_by_address() -> None:
    assert values()["policyCIDRMatchMode"] == ["nodes"], "the ingress' policy names the load balancers by their range"


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
            agent_image=image_of(objects, "DaemonSet"),
            operator_image=image_of(objects, "Deployment"),
        ),
        cache=tmp_path,
    )
    assert again == objects


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
