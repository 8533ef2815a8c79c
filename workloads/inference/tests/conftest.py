"""A server in its own process, as in its container, with a bucket that the tests can publish to."""

from __future__ import annotations

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

SOURCE = Path(__file__).parents[1] / "src"


class Server:
    """A running server: a client to it, its log and its end."""

    def __init__(self, variables: dict[str, str], folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log_path = folder / f"log-{self.port}"
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "isthmus_inference"],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(SOURCE),
                    "ISTHMUS_HOST": "127.0.0.1",
                    "ISTHMUS_PORT": str(self.port),
                    "ISTHMUS_POLL_SECONDS": "0.1",
                    "ISTHMUS_DRAIN_SECONDS": "0.5",
                    **variables,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        self.wait(lambda: self.status("/v2/health/live") == 200, "live")

    def status(self, path: str) -> int:
        try:
            return self.client.get(path).status_code
        except httpx.TransportError:
            return 0

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"the server ended: {self.log_path.read_text()}"
            assert time.monotonic() < deadline, f"not {what} within {seconds} s: {self.log_path.read_text()}"
            time.sleep(0.02)

    def infer(self, images: Any, **more: Any) -> httpx.Response:
        shape = [len(images), len(images[0])]
        values = [float(v) for image in images for v in image]
        tensor = {"name": "image", "shape": shape, "datatype": "FP32", "data": values}
        return self.client.post("/v2/models/digits/infer", json={"inputs": [tensor], **more})

    def version(self) -> str | None:
        return self.client.get("/v2/models/digits").json().get("versions", [None])[0]

    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def metric(self, line: str) -> float:
        """The value of a series, named as /metrics writes it; 0 when there is none."""
        found = [x for x in self.client.get("/metrics").text.splitlines() if x.startswith(line + " ")]
        return float(found[0].split()[-1]) if found else 0.0

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@pytest.fixture
def publish(bucket: Any) -> Callable[..., None]:
    """Puts a model into the bucket as training does, and points the alias at it."""

    def put(model: Any, **damage: bytes) -> None:
        folder = f"models/digits/versions/{model.version}"
        bucket.put(f"{folder}/model.onnx", damage.get("onnx", model.onnx))
        bucket.put(f"{folder}/manifest.json", damage.get("manifest", model.manifest))
        pointer = json.dumps({"version": model.version, "manifest_digest": model.manifest_digest}).encode()
        bucket.put("models/digits/aliases/champion.json", damage.get("alias", pointer))

    return put


@pytest.fixture
def start(bucket: Any, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers, and ends them after the test: none may have crashed."""
    started: list[Server] = []

    def new(**variables: str) -> Server:
        started.append(Server({**bucket.variables, **variables}, tmp_path))
        return started[-1]

    yield new
    for server in started:
        server.client.close()
        assert server.stop() == 0, server.log_path.read_text()
        assert not [line for line in server.log() if line["level"] == "error"], server.log()
