"""The application as it runs, over a world of recorded answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from isthmus_status.app import build
from isthmus_status.settings import Settings

from workloads.status.tests.world import Open, World, eventually


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def opened(world: World, tmp_path: Path) -> Iterator[Open]:
    """Starts the application over the world; with `peer=True` there is another site."""
    (tmp_path / "token").write_text("the-token\n")
    ends: list[Callable[[], None]] = []

    def start(*, peer: bool = False, **settings: Any) -> httpx.Client:
        chosen = {
            "site": "onprem",
            "kubernetes_url": "https://kubernetes",
            "account_dir": tmp_path,
            "inference_url": "http://inference",
            "alertmanager_url": "http://alertmanager",
            "peer_url": "http://peer" if peer else None,
            "refresh_seconds": 0.05,
            **settings,
        }
        app = build(Settings(**chosen), httpx.MockTransport(world.answer))
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        eventually(lambda: server.started, "started")
        port = server.servers[0].sockets[0].getsockname()[1]
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)

        def end() -> None:
            client.close()
            server.should_exit = True
            thread.join(20)

        ends.append(end)
        eventually(lambda: client.get("/health/ready").status_code == 200, "ready")
        return client

    yield start
    for end in ends:
        end()
