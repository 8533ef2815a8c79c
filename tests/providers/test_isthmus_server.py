"""The provider's process ends with the engine that started it, even one that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from infra.paths import ROOT
from infra.providers.isthmus.server import GRACE_S

PLUGIN = ROOT / "infra" / "providers" / "isthmus" / "pulumi-resource-isthmus"

ENGINE = """
import subprocess, sys, time
plugin = subprocess.Popen([sys.executable, sys.argv[1], "127.0.0.1:9"], stdout=subprocess.PIPE, start_new_session=True)
plugin.stdout.readline()
print(plugin.pid, flush=True)
time.sleep(600)
"""


def test_it_ends_when_the_engine_is_killed() -> None:
    engine = subprocess.Popen([sys.executable, "-c", ENGINE, str(PLUGIN)], stdout=subprocess.PIPE, text=True)
    assert engine.stdout is not None
    plugin = int(engine.stdout.readline())
    assert Path(f"/proc/{plugin}").exists()
    engine.kill()
    engine.wait()
    deadline = time.monotonic() + GRACE_S + 15
    try:
        while _runs(plugin):
            assert time.monotonic() < deadline, "the provider outlives its engine"
            time.sleep(0.2)
    finally:
        if _runs(plugin):
            os.kill(plugin, signal.SIGKILL)


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
