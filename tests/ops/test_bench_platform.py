"""The platform's time comes from one run of the engine that made cluster and platform, or is not told."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ops import cluster, engine
from ops.bench import platform_layer
from ops.console import Failure

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOP = "isthmus:platform:Platform"
CLOUD = f"isthmus:cloud:Cloud${TOP}$isthmus:platform:Csi$kubernetes:apps/v1:Deployment"


def at(seconds: float) -> str:
    return (BEGAN + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def resource(types: str, seconds: float | None, name: str = "one", **more: Any) -> dict[str, Any]:
    created = {} if seconds is None else {"created": at(seconds)}
    return {"urn": f"urn:pulumi:local::isthmus::{types}::{name}", "custom": True, **created, **more}


def run(start: float, end: float, **more: str) -> dict[str, str]:
    return {"kind": "update", "startTime": at(start), "endTime": at(end), "result": "succeeded", **more}


RESOURCES = [
    resource(platform_layer.PLAYBOOK, 100.25),
    resource(f"{TOP}$isthmus:platform:Cilium$kubernetes:apps/v1:DaemonSet", 120.25),
    resource(f"{TOP}$isthmus:platform:Csi$kubernetes:core/v1:Namespace", 101.25),
    resource(f"{TOP}$isthmus:platform:Csi$isthmus:platform:LabDriver$kubernetes:apps/v1:Deployment", 140.25),
    resource(f"{TOP}$kubernetes:networking.k8s.io/v1:NetworkPolicy", 150.25, "default::deny-all"),
    # None of these: no object, nothing made, about to go, the other site's, workloads'.
    resource(f"{TOP}$isthmus:platform:Csi", 190, custom=False),
    resource(f"{TOP}$isthmus:platform:Csi$kubernetes:core/v1:Secret", None),
    resource(f"{TOP}$isthmus:platform:Csi$kubernetes:core/v1:ConfigMap", 190, delete=True),
    resource(CLOUD, 190),
    resource("isthmus:workloads:Workloads$kubernetes:batch/v1:Job", 190),
]
HISTORY = [run(900, 910), run(0, 200), run(-500, -400, result="failed")]


def test_it_is_the_time_from_the_playbooks_end_to_the_last_resource_and_that_of_each_part() -> None:
    found = platform_layer.figures(RESOURCES, HISTORY)
    assert found == {
        "platform, s": 50,
        "of the engine's run": 0.25,
        "platform after its network, s": 30,
        "until Cilium, s": 20,
        "until Csi, s": 40,
    }
    assert list(found)[-1] == "until Csi, s", "the last part comes last"


@pytest.mark.parametrize(
    ("resources", "history"),
    [
        (RESOURCES, []),
        (RESOURCES[:1], HISTORY),
        (RESOURCES[1:], HISTORY),
        (RESOURCES, [run(0, 200, result="failed")]),
        (RESOURCES, [run(0, 200, kind="destroy")]),
        # A later run: the playbook's machines, or one object of the platform, were made anew in another.
        ([resource(platform_layer.PLAYBOOK, 905), *RESOURCES[1:]], HISTORY),
        ([*RESOURCES, resource(f"{TOP}$kubernetes:core/v1:Secret", 905)], HISTORY),
        # The first run was interrupted between the two.
        (RESOURCES, [run(110, 200), run(0, 105, result="failed")]),
    ],
)
def test_without_one_whole_run_there_are_no_figures(
    resources: list[dict[str, Any]], history: list[dict[str, str]]
) -> None:
    assert platform_layer.figures(resources, history) is None


def test_the_engine_writes_more_digits_than_python_keeps() -> None:
    precise = [{**RESOURCES[0], "created": "2026-01-02T03:05:45.123456789Z"}, *RESOURCES[1:]]
    found = platform_layer.figures(precise, [run(0, 200)])
    assert found is not None and found["platform, s"] == pytest.approx(50.126544)


def test_the_engine_is_asked_for_its_state_and_its_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    monkeypatch.setattr(cluster, "kubeconfig_file", lambda _: kubeconfig)
    told: dict[str, Any] = {"export": {"deployment": {"resources": RESOURCES}}, "history": HISTORY}

    def pulumi(environment: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert environment == "local" and arguments[0] == "stack"
        return subprocess.CompletedProcess([], 0, json.dumps(told[arguments[1]]), "")

    monkeypatch.setattr(engine, "pulumi", pulumi)
    with pytest.raises(Failure, match="environment local is not up"):
        platform_layer.measure("local")
    kubeconfig.touch()
    assert platform_layer.measure("local")["platform, s"] == 50
    told["history"] = None  # what the engine prints of a stack without a run
    with pytest.raises(Failure, match="in one go"):
        platform_layer.measure("local")
