"""Down leaves nothing behind; an interrupted up is finished by the next. Last, since it builds the lab again."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from infra.paths import ROOT, state
from ops import footprint
from tests.e2e.conftest import variables_for_make

JOINING = "task: kubeadm_control_plane : Join\n"
INTO_THE_JOINS_S = 5.0
"""By then kubeadm runs on two hosts, where it goes on when Ansible is gone: the next run must not get in its way."""


def test_down_leaves_nothing_and_an_interrupted_up_is_finished_by_the_next(make, environment: str) -> None:
    clean = footprint.take  # the comparison with before the lab is part of `make down`, which fails on leftovers
    make("down")
    first = clean()
    make("down")
    assert footprint.compare(first, clean()) == []

    killed = subprocess.Popen(
        ["make", "up"],
        cwd=ROOT,
        env=variables_for_make(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    log = state(environment) / "logs" / "up.log"
    deadline = time.monotonic() + 600
    log.unlink(missing_ok=True)
    while not (log.exists() and JOINING in log.read_text()):
        assert killed.poll() is None, "make up ended before it could be interrupted"
        assert time.monotonic() < deadline, "make up did not reach the joins"
        time.sleep(0.5)
    time.sleep(INTO_THE_JOINS_S)
    assert killed.poll() is None, "make up was done before it could be interrupted"
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()

    make("up")
    assert "sha256:" in make("predict", "INDEX=0").stdout
