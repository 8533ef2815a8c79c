"""The program as its container runs it, and its settings."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from isthmus_replication import health as health_module
from isthmus_replication.follow import Follower
from isthmus_replication.health import Health
from isthmus_replication.settings import BadSettings, Place, load
from isthmus_training.manifest import Model

SOURCE = Path(__file__).parents[1] / "src"
BOTH = {
    "ISTHMUS_SOURCE_REGION": "garage",
    "ISTHMUS_SOURCE_BUCKET": "models",
    "ISTHMUS_SOURCE_ENDPOINT": "http://garage:3900",
    "ISTHMUS_SOURCE_CREDENTIALS_DIR": "/keys",
    "ISTHMUS_DESTINATION_REGION": "eu-central-1",
    "ISTHMUS_DESTINATION_BUCKET": "isthmus-models",
}


class Process:
    """The program, its log, and its pages."""

    def __init__(self, variables: dict[str, str], log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "ISTHMUS_HOST": "127.0.0.1"}
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "isthmus_replication"],
                env={**own, "ISTHMUS_PORT": str(self.port), **variables},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=10)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert self.process.poll() is None, f"it ended: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"not {what} within 20 s: {self.log.read_text()}"
            time.sleep(0.02)


@pytest.fixture
def start(variables: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def new(**more: str) -> Process:
        started.append(Process({**variables, **more}, tmp_path / "log"))
        return started[-1]

    yield new
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()


def test_it_copies_tells_how_it_is_and_ends_when_asked(
    start: Callable[..., Process], model: Callable[..., Model], publish: Callable, holds: Callable
) -> None:
    first = model(b"first model")
    publish(first)
    running = start()
    running.wait(lambda: any(line.get("result") == "replicated" for line in running.lines()), "replicated")
    assert holds(first)
    assert (running.get("/healthz").status_code, running.get("/healthz").text) == (200, "ok\n")
    assert running.get("/other").status_code == 404
    numbers = running.get("/metrics").text
    onnx = json.loads(first.manifest)["onnx"]["digest"]
    champion = f'isthmus_replication_champion{{digest="{onnx}",model="digits",version="{first.version}"}} 1.0'
    assert champion in numbers
    assert f"isthmus_replication_received_bytes_total {float(len(first.onnx))}" in numbers
    assert 'isthmus_replication_failures_total{reason="source_unreachable"} 0.0' in numbers
    name = 'isthmus_replication_checked_timestamp_seconds{model="digits"} '
    checked = next(line for line in numbers.splitlines() if line.startswith(name))
    assert time.time() - float(checked.split()[1]) < 20
    assert "isthmus_backup_copy_timestamp_seconds{" not in numbers
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(timeout=5) == 0
    lines = running.lines()
    assert lines[0]["message"].startswith("from source bucket ")
    assert lines[-1]["message"] == "stopped by a signal"
    assert not [line for line in lines if line["level"] in ("warning", "error")]


def test_it_copies_backups_instead_and_tells_of_them_alone(
    start: Callable[..., Process], source: Any, destination: Any
) -> None:
    said = {"sha256": hashlib.sha256(b"sealed").hexdigest(), "taken": "1780000000"}
    source.client.put_object(Bucket=source.name, Key="etcd/one.cms", Body=b"sealed", Metadata=said)
    running = start(ISTHMUS_BACKUPS_OF="one,two")
    running.wait(lambda: any(line.get("result") == "copied" for line in running.lines()), "copied")
    assert destination.get("etcd/one.cms") == b"sealed"
    numbers = running.get("/metrics").text
    assert 'isthmus_backup_copy_timestamp_seconds{host="one"} 1.78e+09' in numbers
    assert 'isthmus_backup_copy_timestamp_seconds{host="two"} 0.0' in numbers
    told = [line for line in numbers.splitlines() if line.startswith("isthmus_replication_ch")]
    assert told == [], "of no champion: its alerts would take this program's 0 for one that is stalled"


def test_a_signal_ends_it_in_the_middle_of_a_model(
    start: Callable[..., Process],
    model: Callable[..., Model],
    publish: Callable,
    link: Callable,
    source: Any,
    destination: Any,
) -> None:
    publish(model(bytes(2**22)))
    way = link(source)
    way.stall_after = 2**21
    running = start(ISTHMUS_SOURCE_ENDPOINT=way.endpoint)
    assert way.has_stalled.wait(20)
    assert running.get("/healthz").status_code == 200
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(timeout=5) == 0, "sooner than the read would time out"
    assert destination.listing() == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ISTHMUS_SOURCE_BUCKET": "", "ISTHMUS_POLL_SECONDS": "never"}, "ISTHMUS_SOURCE_BUCKET: Field required; ISTH"),
        ({"ISTHMUS_DESTINATION_CREDENTIALS_DIR": "/nowhere"}, "ISTHMUS_DESTINATION_CREDENTIALS_DIR: No such file"),
        ({"ISTHMUS_SCRATCH_DIR": "/nowhere"}, "ISTHMUS_SCRATCH_DIR: No such file or directory: /nowhere"),
        ({"ISTHMUS_HOST": "192.0.2.1"}, "ISTHMUS_HOST, ISTHMUS_PORT: 192.0.2.1:"),
    ],
)
def test_wrong_settings_end_it_with_status_2_and_are_named(
    start: Callable[..., Process], wrong: dict[str, str], words: str
) -> None:
    running = start(**wrong)
    assert running.process.wait(timeout=20) == 2
    (line,) = running.lines()
    assert line["level"] == "error" and words in line["message"], line


def test_a_side_without_endpoint_and_keys_is_awss_own_with_the_pods_identity() -> None:
    settings = load(BOTH)
    assert settings.source == Place(
        endpoint="http://garage:3900", region="garage", bucket="models", credentials_dir=Path("/keys")
    )
    assert settings.destination == Place(
        endpoint=None, region="eu-central-1", bucket="isthmus-models", credentials_dir=None
    )
    assert (settings.model, settings.alias, settings.poll_seconds, settings.port) == ("digits", "champion", 5, 8080)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"ISTHMUS_SOURCE_ENDPOINT": "garage"}, "ISTHMUS_SOURCE_ENDPOINT: "),
        ({"ISTHMUS_SOURCE_REGION": ""}, "ISTHMUS_SOURCE_REGION: Field required"),
        ({"ISTHMUS_MODEL": "../x"}, "ISTHMUS_MODEL: "),
        (
            {"ISTHMUS_DESTINATION_ENDPOINT": "http://garage:3900", "ISTHMUS_DESTINATION_BUCKET": "models"},
            "ISTHMUS_DESTINATION_BUCKET: it is the source's own bucket",
        ),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, str], words: str) -> None:
    with pytest.raises(BadSettings) as refused:
        load({**BOTH, **wrong})
    assert words in str(refused.value)


def test_the_same_bucket_name_in_two_stores_is_fine() -> None:
    assert load({**BOTH, "ISTHMUS_DESTINATION_BUCKET": "models"}).destination.bucket == "models"


def test_it_is_ill_only_when_nothing_moves_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(health_module.time, "monotonic", lambda: now)
    health = Health(poll_seconds=5)
    now += 184
    assert health.answer() == (200, "ok\n")
    now += 2
    assert health.answer() == (503, "no sign of work for 186 s\n")
    health.alive()
    assert health.answer()[0] == 200


def test_a_cut_link_is_a_sign_of_work(variables: dict[str, str], look: Callable[[Follower], str]) -> None:
    signs: list[None] = []
    unreachable = load({**variables, "ISTHMUS_SOURCE_ENDPOINT": "http://127.0.0.1:9"})
    assert look(Follower(unreachable, lambda: signs.append(None))) == "source_unreachable"
    assert signs
