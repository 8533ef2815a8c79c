"""Runs the server until SIGTERM, and then drains: not ready at once, closed once the balancers had time to notice."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from types import FrameType

import uvicorn

from isthmus_inference import log
from isthmus_inference.app import build
from isthmus_inference.settings import BadSettings, Settings, load
from isthmus_inference.watch import Serving

logger = logging.getLogger("isthmus.server")


class DrainingServer(uvicorn.Server):
    """uvicorn stops listening at the signal; this one first answers on, while its readiness says no."""

    def __init__(self, config: uvicorn.Config, serving: Serving, drain_seconds: float) -> None:
        super().__init__(config)
        self.serving, self.drain_seconds = serving, drain_seconds

    async def serve(self, sockets: list | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  (uvicorn's signature)
        """A first signal drains; a second one ends it now. Work in flight is finished either way."""
        if self.serving.draining:
            self.should_exit = True
            return
        self.serving.draining = True
        logger.info("draining: not ready from now on", extra={"facts": {"signal": sig, "seconds": self.drain_seconds}})
        self.loop.call_soon_threadsafe(self.loop.call_later, self.drain_seconds, self.stop)

    def stop(self) -> None:
        logger.info("drained: closing")
        self.should_exit = True


def configured(settings: Settings, serving: Serving) -> DrainingServer:
    """The server with its application."""
    config = uvicorn.Config(
        build(settings, serving),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,  # metrics count requests; a line for each would cost more than the answer
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.max_connections,
        timeout_keep_alive=75,  # longer than a balancer keeps an idle connection: the side that uses it closes it
        timeout_graceful_shutdown=20,
    )
    return DrainingServer(config, serving, settings.drain_seconds)


def main() -> int:
    """The exit status: 0 after a drain, 2 for bad settings."""
    log.configure()
    try:
        settings = load(os.environ)
    except BadSettings as fault:
        logger.error(str(fault))
        return 2
    configured(settings, Serving()).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
