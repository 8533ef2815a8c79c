"""Copies until SIGTERM. What is under way then is given up.

An object is written whole or not at all, and an alias last, so nothing is half done.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from isthmus_replication import log
from isthmus_replication.backups import Backups
from isthmus_replication.follow import Follower
from isthmus_replication.health import Health, serve
from isthmus_replication.settings import BadSettings, Settings, load

logger = logging.getLogger("isthmus.replication")


async def follow(settings: Settings) -> None:
    """Works until a signal; BadSettings when it can't begin."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    health = Health(settings.poll_seconds)
    looker = (Backups if settings.backups_of else Follower)(settings, health.alive)
    try:
        serve(settings.host, settings.port, health)
    except OSError as fault:
        raise BadSettings(f"ISTHMUS_HOST, ISTHMUS_PORT: {settings.host}:{settings.port}: {fault.strerror}") from None
    logger.info(f"from {looker.source.where} to {looker.destination.where}")
    work, signalled = asyncio.create_task(looker.run()), asyncio.create_task(stop.wait())
    await asyncio.wait({work, signalled}, return_when=asyncio.FIRST_COMPLETED)
    if work.done():  # it has no end of its own: this raises what ended it
        await work
    work.cancel()
    await asyncio.wait({work})
    logger.info("stopped by a signal")


def main() -> int:
    """The exit status: 0 after a signal, 2 for bad settings."""
    log.configure()
    try:
        asyncio.run(follow(load(os.environ)))
    except BadSettings as fault:
        logger.error(str(fault))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
