"""The program: bad settings end it with a reason; the watcher's health."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from isthmus_status.models import Cluster
from isthmus_status.settings import BadSettings, Settings, load
from isthmus_status.sources import Sources
from isthmus_status.watch import Watcher

GOOD = {
    "ISTHMUS_SITE": "onprem",
    "ISTHMUS_INFERENCE_URL": "http://inference",
    "ISTHMUS_ALERTMANAGER_URL": "http://alertmanager:9093",
}


def test_settings_are_read_from_the_environment() -> None:
    settings = load({**GOOD, "ISTHMUS_REFRESH_SECONDS": "15", "ISTHMUS_PEER_URL": ""})
    assert (settings.site, settings.refresh_seconds, settings.peer_url) == ("onprem", 15, None)


def test_every_bad_setting_is_named() -> None:
    with pytest.raises(BadSettings, match=r"ISTHMUS_SITE: .*ISTHMUS_ALERTMANAGER_URL: "):
        load({"ISTHMUS_INFERENCE_URL": "http://inference", "ISTHMUS_ALERTMANAGER_URL": "file:///etc/passwd"})


def test_bad_settings_end_the_program_with_2() -> None:
    source = str(Path(__file__).parents[1] / "src")
    done = subprocess.run(
        [sys.executable, "-m", "isthmus_status"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "ISTHMUS_SITE" in done.stdout


class Stuck(Sources):
    """Sources that never answer, and one with a fault of its own."""

    def __init__(self) -> None: ...

    async def cluster(self) -> Cluster:
        await asyncio.sleep(3600)
        raise AssertionError

    async def champion(self) -> None:  # type: ignore[override]
        raise ZeroDivisionError

    alerts = cluster  # type: ignore[assignment]


def test_a_look_ends_in_time_whatever_sources_do() -> None:
    settings = Settings(site="s", inference_url="http://i", alertmanager_url="http://a", timeout_seconds=0.05)
    watcher = Watcher(settings, Stuck())
    assert not watcher.ready
    asyncio.run(watcher.look())
    assert watcher.ready and watcher.alive
    assert watcher.site.cluster.fault == "no answer within 0.05 s"
    assert watcher.site.champion.fault == "the page could not read it; its log says why"


def test_a_watcher_that_no_longer_looks_is_not_alive() -> None:
    settings = Settings(site="s", inference_url="http://i", alertmanager_url="http://a")
    watcher = Watcher(settings, Stuck())
    assert watcher.alive, "it is given time to begin"
    watcher.began -= 6 * (settings.refresh_seconds + settings.timeout_seconds)
    assert not watcher.alive
