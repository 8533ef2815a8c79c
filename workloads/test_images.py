"""What the two images must have in common, since each is built from its own folder alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WORKLOADS = ("training", "inference")


def pins(workload: str) -> dict[str, str]:
    project = tomllib.loads((HERE / workload / "pyproject.toml").read_text())["project"]
    return dict(requirement.split("==") for requirement in project["dependencies"])


def test_both_slim_their_packages_the_same_way() -> None:
    first, second = ((HERE / workload / "slim.py").read_bytes() for workload in WORKLOADS)
    assert first == second


def test_what_training_checks_with_is_what_serves() -> None:
    training, inference = map(pins, WORKLOADS)
    assert {name: training[name] for name in training.keys() & inference.keys()} == {
        name: inference[name] for name in training.keys() & inference.keys()
    }
    assert {"numpy", "obstore", "onnxruntime"} <= training.keys() & inference.keys()


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_lock_files_hold_the_pins(workload: str) -> None:
    locked = {p["name"]: p.get("version") for p in tomllib.loads((HERE / workload / "uv.lock").read_text())["package"]}
    assert {name: locked.get(name) for name in pins(workload)} == pins(workload)


@pytest.mark.parametrize("workload", WORKLOADS)
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
