"""Runs the server until SIGTERM."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn

from isthmus_status import log
from isthmus_status.app import build
from isthmus_status.settings import BadSettings, load

logger = logging.getLogger("isthmus.status")
MAX_CONNECTIONS = 100  # bounds memory; more are answered 503


def main() -> int:
    """The exit status: 0 after a signal, 2 for bad settings."""
    log.configure()
    try:
        settings = load(os.environ)
    except BadSettings as fault:
        logger.error(str(fault))
        return 2
    uvicorn.run(
        build(settings),
        host=settings.host,
        port=settings.port,
        ws="none",
        access_log=False,  # a line for each probe would say nothing
        log_config=None,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
