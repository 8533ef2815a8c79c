"""What the images must have in common, since each is built from its own folder alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WORKLOADS = ("training", "inference", "replication", "status")
WITH_ONNXRUNTIME = ("training", "inference")


def pins(workload: str) -> dict[str, str]:
    project = tomllib.loads((HERE / workload / "pyproject.toml").read_text())["project"]
    return dict(requirement.split("==") for requirement in project["dependencies"])


def test_what_several_depend_on_is_the_same_version() -> None:
    versions: dict[str, set[str]] = {}
    for workload in WORKLOADS:
        for name, version in pins(workload).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_what_training_checks_with_is_what_serves() -> None:
    training, inference = map(pins, WITH_ONNXRUNTIME)
    assert {"numpy", "obstore", "onnxruntime"} <= training.keys() & inference.keys()


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_lock_files_hold_the_pins(workload: str) -> None:
    locked = {p["name"]: p.get("version") for p in tomllib.loads((HERE / workload / "uv.lock").read_text())["package"]}
    assert {name: locked.get(name) for name in pins(workload)} == pins(workload)


@pytest.mark.parametrize("workload", WITH_ONNXRUNTIME)
def test_onnxruntime_is_told_not_to_report_before_it_is_imported(workload: str) -> None:
    code = (
        f"import isthmus_{workload}, os, sys; print(os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE / workload / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["1", "False"]
