"""One look at both stores, again and again: what came of it is counted, and logged when it is news."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

from isthmus_replication import metrics
from isthmus_replication.faults import Fault
from isthmus_replication.scratch import Scratch
from isthmus_replication.settings import Settings
from isthmus_replication.store import Store


class Looker(ABC):
    """Brings the destination to where the source is, over a link that may be cut."""

    fine: tuple[str, ...]
    """Results that are no failure. `unchanged` is said only after one that is."""

    def __init__(self, settings: Settings, alive: Callable[[], None]) -> None:
        """BadSettings when keys or the scratch folder are not there."""
        self.settings = settings
        self.source = Store("source", settings.source, alive)
        self.destination = Store("destination", settings.destination, alive)
        self.scratch = Scratch(settings.scratch_dir, settings.scratch_bytes)
        self.last = ("", "")
        self.logger = logging.getLogger(type(self).__module__.replace("isthmus_replication", "isthmus"))

    @abstractmethod
    async def follow(self) -> tuple[str, str]:
        """Brings the destination to where the source is: result and message, or a Fault."""

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            await self.check()
            await asyncio.sleep(self.settings.poll_seconds)

    async def check(self) -> str:
        """One look; returns, counts and (when it differs from the last) logs what came of it."""
        crash = None
        try:
            result, message = await self.follow()
        except Fault as fault:
            result, message = fault.reason, str(fault)
        except Exception as fault:  # this process must outlive what nobody thought of
            result, message, crash = "error", f"looking at the stores failed: {fault!r}", fault
        if result not in self.fine:
            metrics.FAILURES.labels(result).inc()
        self.say(result, message, crash)
        return result

    def say(self, result: str, message: str, crash: Exception | None) -> None:
        """Logs what is news. How a store is away may read otherwise at each poll, so its reason alone counts."""
        news = result if result.startswith(("source_", "destination_")) else message
        quiet = result == "unchanged" and self.last[0] in self.fine
        if (result, news) != self.last and not quiet:
            level = logging.ERROR if crash else logging.INFO if result in self.fine else logging.WARNING
            kept = {"kept_bytes": self.scratch.received} if self.scratch.received else {}
            self.logger.log(level, message, exc_info=crash, extra={"facts": {"result": result, **kept}})
        self.last = (result, news)
