"""A training run that asks for an accelerator, and what others see of that: nothing."""

from __future__ import annotations

from typing import Any

import pytest

from infra import environment, nodes
from infra.accelerators import AcceleratorRequest
from infra.environment import Environment
from infra.paths import ROOT
from infra.platform import pods
from infra.workloads import accelerated
from tests.infra import recording
from tests.infra.recording import Resource
from tests.infra.workloads.test_workloads import workloads_of


def asking(env: Environment, resource: str, count: int = 1) -> Environment:
    request = AcceleratorRequest(resource=resource, count=count)
    training = env.workloads.training.model_copy(update={"accelerator": request})
    return env.model_copy(update={"workloads": env.workloads.model_copy(update={"training": training})})


def job(resources: list[Resource]) -> tuple[dict[str, Any], dict[str, Any]]:
    made = recording.the(resources, "Job", "training")
    assert made.pod is not None
    return made.inputs, made.pod


def prod() -> Environment:
    return environment.load(ROOT / "environments" / "prod.yaml")


@pytest.mark.parametrize(
    ("env", "resource", "label", "taint", "runtime"),
    [
        (prod(), "nvidia.com/gpu", ("nvidia.com/gpu.present", "true"), "nvidia.com/gpu", "nvidia"),
        (recording.local(), "example.com/resource", ("accelerator", "simulated"), None, None),
        (recording.local(), "example.com/gpu", ("accelerator", "simulated"), None, None),
    ],
    ids=["prod", "local", "local-dra"],
)
def test_a_run_takes_its_devices_on_nodes_that_have_them(
    env: Environment, resource: str, label: tuple[str, str], taint: str | None, runtime: str | None
) -> None:
    _, pod = job(workloads_of(asking(env, resource, 2)))
    (container,) = pod["containers"]
    assert container["resources"]["limits"][resource] == container["resources"]["requests"][resource] == "2"
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": label[0], "operator": "In", "values": [label[1]]}]
    assert [one["key"] for one in pod.get("tolerations", [])] == ([taint] if taint else [])
    assert pod.get("runtimeClassName") == runtime


def test_a_run_on_the_cloud_site_goes_to_its_node_groups() -> None:
    (offer,) = nodes.offers(prod(), "cloud")
    placed = accelerated.placement(AcceleratorRequest(resource="nvidia.com/gpu"), [offer])
    assert [one["key"] for one in placed["tolerations"]] == ["nvidia.com/gpu"]
    assert placed["runtime_class_name"] == "nvidia"


def test_a_run_may_wait_for_devices_longer_than_it_may_run() -> None:
    def seconds(env: Environment) -> int:
        return job(workloads_of(env))[0]["spec"]["activeDeadlineSeconds"]

    local = recording.local()
    assert seconds(asking(local, "example.com/resource")) >= seconds(local) + 1800


def test_a_run_that_asks_for_none_is_the_same_as_where_there_are_none() -> None:
    local = recording.local()
    without = local.model_copy(update={"platform": local.platform.model_copy(update={"accelerators": ()})})
    assert job(workloads_of(local)) == job(workloads_of(without))


def test_other_workloads_do_not_tolerate_the_taints() -> None:
    deployment = recording.the(workloads_of(asking(prod(), "nvidia.com/gpu")), "Deployment", "inference")
    assert deployment.pod is not None
    assert "tolerations" not in deployment.pod


def test_a_taint_without_a_value_is_tolerated_whatever_value_it_has() -> None:
    part = pods.tolerating(["gpu:NoExecute"])
    assert part == {"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]}
