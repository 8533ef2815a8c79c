"""Down leaves nothing behind; an interrupted up is finished by the next.

Between the two, `make test` runs what needs no environment (see ops/testing.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from infra.paths import ROOT, state
from ops import footprint
from tests.e2e.conftest import variables_for_make

JOINING = "task: kubeadm_control_plane : Join\n"
INTO_THE_JOINS_S = 5.0
"""By then kubeadm runs on two hosts, where it goes on when Ansible is gone: the next run must not get in its way."""


def test_down_leaves_nothing(make) -> None:
    make("down")  # fails itself on what was not there before the lab
    first = footprint.take()
    make("down")
    assert footprint.since(first) == []


@pytest.mark.rebuilds
def test_an_interrupted_up_is_finished_by_the_next(make, environment: str, tmp_path: Path) -> None:
    make("down")  # it is, unless this test is run by itself
    interrupted_in_the_joins(state(environment) / "logs" / "up.log", tmp_path / "said")

    make("up")
    assert "sha256:" in make("predict", "INDEX=0").stdout
    make("preview", "HOSTS=1", "ARGS=--expect-no-changes")


def interrupted_in_the_joins(log: Path, said: Path) -> None:
    """A `make up` that is cut off, with all that it started, while control planes join."""
    log.unlink(missing_ok=True)
    with said.open("w") as output:
        up = subprocess.Popen(
            ["make", "up"],
            cwd=ROOT,
            env=variables_for_make(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 600
    try:
        while not (log.exists() and JOINING in log.read_text(errors="replace")):
            assert up.poll() is None, f"make up ended before it could be interrupted: {said.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"make up did not reach the joins: {said.read_text()[-4000:]}"
            time.sleep(0.5)
        time.sleep(INTO_THE_JOINS_S)
        assert up.poll() is None, f"make up was done before it could be interrupted: {said.read_text()[-4000:]}"
    finally:
        os.killpg(up.pid, signal.SIGKILL)
        up.wait()
