"""Follows the source's alias, and moves the destination's when the destination holds all that it points at."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from isthmus_replication import metrics
from isthmus_replication.contract import Alias, Manifest, alias_key, read_alias
from isthmus_replication.faults import Fault, Refused
from isthmus_replication.scratch import Scratch
from isthmus_replication.settings import Settings
from isthmus_replication.store import Missing, Store, Unchanged
from isthmus_replication.transfer import changed, transfer

logger = logging.getLogger("isthmus.follow")
REFUSED_AGAIN_SECONDS = 60  # a refused model is looked at again now and then: its files may have been mended
FINE = ("replicated", "verified", "unchanged", "no_champion")


class AliasObject:
    """An alias in a store; its content travels only when it has changed."""

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.key = store, key
        self.content: bytes | None = None
        self.etag: str | None = None

    async def look(self) -> bytes | None:
        """What it holds now; None when there is none."""
        try:
            self.content, self.etag = await self.store.read(self.key, unless=self.etag)
        except Unchanged:
            pass
        except Missing:
            self.content = self.etag = None
        return self.content


class Follower:
    """Keeps the destination's champion at the source's."""

    def __init__(self, settings: Settings, alive: Callable[[], None]) -> None:
        """BadSettings when keys or the scratch folder are not there."""
        self.settings = settings
        key = alias_key(settings.model, settings.alias)
        self.source = AliasObject(Store("source", settings.source, alive), key)
        self.destination = AliasObject(Store("destination", settings.destination, alive), key)
        self.scratch = Scratch(settings.scratch_dir, settings.scratch_bytes)
        self.settled: tuple[bytes | None, bytes | None] | None = None  # both aliases, once all was found well
        self.refusal: tuple[tuple[bytes | None, bytes | None], Refused, float] | None = (
            None  # of which, why, until when
        )
        self.last = ("", "")

    async def run(self) -> None:
        """Looks at both aliases for ever."""
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
        if result in FINE:
            metrics.CHECKED.set(time.time())
        else:
            metrics.FAILURES.labels(result).inc()
        self.say(result, message, crash)
        return result

    def say(self, result: str, message: str, crash: Exception | None) -> None:
        """Logs what is news. How a store is away may read otherwise at each poll, so its reason alone counts."""
        news = result if result.startswith(("source_", "destination_")) else message
        quiet = result == "unchanged" and self.last[0] in FINE
        if (result, news) != self.last and not quiet:
            level = logging.ERROR if crash else logging.INFO if result in FINE else logging.WARNING
            kept = {"kept_bytes": self.scratch.received} if self.scratch.received else {}
            logger.log(level, message, exc_info=crash, extra={"facts": {"result": result, **kept}})
        self.last = (result, news)

    async def follow(self) -> tuple[str, str]:
        """Brings the destination to where the source is: result and message, or a Fault."""
        name = self.settings.model
        both = wanted, present = await self.source.look(), await self.destination.look()
        if wanted is None:
            return "no_champion", f"{self.source.store.where} has no {self.source.key} yet: nothing to copy"
        if both == self.settled:
            return "unchanged", "both stores answer, and the champion is as it was"
        if self.refusal and self.refusal[0] == both and time.monotonic() < self.refusal[2]:
            raise self.refusal[1]
        began = time.monotonic()
        try:
            alias = read_alias(wanted)
            manifest, written = await transfer(self.source.store, self.destination.store, self.scratch, name, alias)
            if points_at(present) != alias:
                await self.move(wanted)
                written.append(f"alias {self.settings.alias}")
        except Refused as fault:
            self.refusal = (both, fault, time.monotonic() + REFUSED_AGAIN_SECONDS)
            raise
        self.settled = (wanted, self.destination.content)
        show(manifest)
        what = f"{name} {alias.version} {manifest.onnx.digest}"
        if not written:
            return "verified", f"the destination holds {what} already"
        return "replicated", f"{what}: wrote {', '.join(written)} in {time.monotonic() - began:.1f} s"

    async def move(self, wanted: bytes) -> None:
        """Points the destination's alias where the source's points: the last write, which is what servers notice."""
        await self.destination.store.write(self.destination.key, wanted)
        if await self.destination.look() != wanted:
            raise changed(self.destination.store, self.destination.key)


def points_at(content: bytes | None) -> Alias | None:
    """What the destination's alias means; None when there is none or it can't be read, which a write mends."""
    try:
        return read_alias(content) if content is not None else None
    except Refused:
        return None


def show(manifest: Manifest) -> None:
    """The champion in the metrics."""
    metrics.CHAMPION.clear()
    metrics.CHAMPION.labels(manifest.model, manifest.version, manifest.onnx.digest).set(1)
