"""Looks at all sources again and again, beside the requests, which are answered from what was seen last."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from isthmus_status.models import Alert, Champion, Cluster, Reading, Site, now
from isthmus_status.settings import Settings
from isthmus_status.sources import Silent, Sources

T = TypeVar("T")
logger = logging.getLogger("isthmus.status")


class Watcher:
    """What was seen last. Each source fails by itself."""

    def __init__(self, settings: Settings, sources: Sources) -> None:
        self.settings, self.sources = settings, sources
        self.cluster: Reading[Cluster] = Reading()
        self.champion: Reading[Champion] = Reading()
        self.alerts: Reading[list[Alert]] = Reading()
        self.peer: Reading[Site] | None = Reading() if settings.peer_url else None
        self.looked: float | None = None
        """When the last look was over; of the monotonic clock."""
        self.began = time.monotonic()

    @property
    def site(self) -> Site:
        """This site, as /api/site tells of it."""
        return Site(
            name=self.settings.site,
            told_at=now(),
            cluster=self.cluster,
            champion=self.champion,
            alerts=self.alerts,
        )

    @property
    def ready(self) -> bool:
        """Whether there is anything to show: every source has been asked once."""
        return self.looked is not None

    @property
    def alive(self) -> bool:
        """Whether it still looks; with much patience for a machine that is short of everything."""
        patience = 6 * (self.settings.refresh_seconds + self.settings.timeout_seconds)
        return time.monotonic() - (self.looked or self.began) < patience

    async def run(self) -> None:
        """Looks for as long as it is let; a look begins `refresh_seconds` after the last one's end."""
        while True:
            await self.look()
            await asyncio.sleep(self.settings.refresh_seconds)

    async def look(self) -> None:
        """Asks every source once, all at the same time."""
        await asyncio.gather(
            self._follow("cluster", self.sources.cluster),
            self._follow("champion", self.sources.champion),
            self._follow("alerts", self.sources.alerts),
            *([self._follow("peer", self.sources.peer)] if self.peer else []),
        )
        self.looked = time.monotonic()

    async def _follow(self, name: str, source: Callable[[], Awaitable[Any]]) -> None:
        """Keeps what one source says. A fault is logged when it comes and when it goes, not at every look."""
        before: Reading[Any] = getattr(self, name)
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                after = before.said(await source())
        except Silent as fault:
            after = before.failed(str(fault))
        except TimeoutError:
            after = before.failed(f"no answer within {self.settings.timeout_seconds:g} s")
        except Exception:  # a fault of this program: the other sources are shown all the same
            logger.exception(f"reading {name} failed")
            after = before.failed("the page could not read it; its log says why")
        if after.fault != before.fault:
            logger.info(f"{name}: {after.fault or 'answers'}")
        setattr(self, name, after)
