"""Where a site's owners install the driver of its volumes, `make up` waits for nothing that needs one."""

from __future__ import annotations

from typing import Any

import pytest

from infra import environment
from infra.platform import cluster, storage
from infra.platform.monitoring import Monitoring, MonitoringArgs
from tests.infra import program, recording
from tests.infra.recording import Resource

OWNERS = [name for name in program.ENVIRONMENTS if environment.load(program.file(name)).onprem.provisioner == "hosts"]


def not_awaited(resources: list[Resource]) -> set[str]:
    found = [one for one in resources if one.type.startswith("kubernetes:")]
    marked = [(one, (one.inputs.get("metadata") or {}).get("annotations") or {}) for one in found]
    return {f"{one.kind} {one.name}" for one, notes in marked if notes.get("pulumi.com/skipAwait") == "true"}


def claims(one: Resource) -> bool:
    """Whether it is a claim, or starts pods with one, of a class whose driver the owners run."""
    spec: dict[str, Any] = one.inputs.get("spec") or {}
    made = [claim["spec"] for claim in spec.get("volumeClaimTemplates") or ()]
    made += [spec] if one.kind == "PersistentVolumeClaim" else []
    named = any("persistentVolumeClaim" in volume for volume in (one.pod or {}).get("volumes") or ())
    return named or any(claim["storageClassName"] != storage.CLASS for claim in made)


def waiting(resources: list[Resource]) -> set[str]:
    """What is not ready before such a claim is bound, by Kubernetes' objects alone."""
    holders = [one for one in resources if claims(one)]
    labels = [one.inputs["spec"]["template"]["metadata"]["labels"] for one in holders if one.pod]
    services = [
        one
        for one in resources
        if one.type == "kubernetes:core/v1:Service"
        and one.inputs["spec"].get("clusterIP") != "None"
        and any((one.inputs["spec"].get("selector") or {"": ""}).items() <= each.items() for each in labels)
    ]
    return {f"{one.kind} {one.name}" for one in [*holders, *services]}


def onprem(name: str) -> list[Resource]:
    return [one for one in program.of(name).resources if one.options.provider == "onprem"]


@pytest.mark.parametrize("name", OWNERS)
def test_nothing_that_a_late_driver_holds_up_is_waited_for(name: str) -> None:
    held_up = waiting(onprem(name))
    assert {"StatefulSet prometheus", "StatefulSet prometheus-view", "Service prometheus-view"} <= held_up
    assert held_up <= not_awaited(onprem(name))


@pytest.mark.parametrize("name", OWNERS)
def test_all_else_is_waited_for(name: str) -> None:
    # A Service without an address is never waited for, so that the mark says nothing there.
    assert not_awaited(onprem(name)) - waiting(onprem(name)) <= {"Service prometheus"}


@pytest.mark.parametrize("name", program.ENVIRONMENTS)
def test_volumes_that_are_there_in_time_are_waited_for(name: str) -> None:
    others = [one for one in program.of(name).resources if name not in OWNERS or one.options.provider != "onprem"]
    assert others
    assert not_awaited(others) == set()


def test_nor_is_the_service_by_which_autoscalers_ask_prometheus() -> None:
    local = recording.local()
    assert local.platform.monitoring
    args = MonitoringArgs(
        cluster=cluster.of_hosts(local.onprem),
        settings=local.platform.monitoring,
        persistent=True,
        index=recording.index(),
        for_autoscalers=True,
        late_volumes=True,
    )
    resources = recording.record(lambda: Monitoring("monitoring", args))
    assert "Service prometheus-queried" in waiting(resources)
    assert waiting(resources) <= not_awaited(resources)
