"""Follows the source's alias, and moves the destination's when the destination holds all that it points at."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import Gauge

from isthmus_replication.contract import Alias, Manifest, alias_key, read_alias
from isthmus_replication.faults import Refused
from isthmus_replication.look import Looker
from isthmus_replication.settings import Settings
from isthmus_replication.store import Missing, Store, Unchanged
from isthmus_replication.transfer import changed, transfer

REFUSED_AGAIN_SECONDS = 60  # a refused model is looked at again now and then: its files may have been mended

CHECKED = Gauge(
    "isthmus_replication_checked_timestamp_seconds",
    "When both stores last answered and the destination held the source's champion; 0 for never.",
    ["model"],  # so that a program which copies something else tells nothing of it
)
CHAMPION = Gauge(
    "isthmus_replication_champion", "1 for the champion that the destination holds.", ["model", "version", "digest"]
)


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


class Follower(Looker):
    """Keeps the destination's champion at the source's."""

    fine = ("replicated", "verified", "unchanged", "no_champion")

    def __init__(self, settings: Settings, alive: Callable[[], None]) -> None:
        super().__init__(settings, alive)
        key = alias_key(settings.model, settings.alias)
        self.wanted, self.present = AliasObject(self.source, key), AliasObject(self.destination, key)
        CHECKED.labels(settings.model).set(0)
        self.settled: tuple[bytes | None, bytes | None] | None = None  # both aliases, once all was found well
        self.refusal: tuple[tuple[bytes | None, bytes | None], Refused, float] | None = (
            None  # of which, why, until when
        )

    async def check(self) -> str:
        """One look, as any; what came of it."""
        result = await super().check()
        if result in self.fine:
            CHECKED.labels(self.settings.model).set(time.time())
        return result

    async def follow(self) -> tuple[str, str]:
        """Brings the destination to where the source is: result and message, or a Fault."""
        name = self.settings.model
        both = wanted, present = await self.wanted.look(), await self.present.look()
        if wanted is None:
            return "no_champion", f"{self.source.where} has no {self.wanted.key} yet: nothing to copy"
        if both == self.settled:
            return "unchanged", "both stores answer, and the champion is as it was"
        if self.refusal and self.refusal[0] == both and time.monotonic() < self.refusal[2]:
            raise self.refusal[1]
        began = time.monotonic()
        try:
            alias = read_alias(wanted)
            manifest, written = await transfer(self.source, self.destination, self.scratch, name, alias)
            if points_at(present) != alias:
                await self.move(wanted)
                written.append(f"alias {self.settings.alias}")
        except Refused as fault:
            self.refusal = (both, fault, time.monotonic() + REFUSED_AGAIN_SECONDS)
            raise
        self.settled = (wanted, self.present.content)
        show(manifest)
        what = f"{name} {alias.version} {manifest.onnx.digest}"
        if not written:
            return "verified", f"the destination holds {what} already"
        return "replicated", f"{what}: wrote {', '.join(written)} in {time.monotonic() - began:.1f} s"

    async def move(self, wanted: bytes) -> None:
        """Points the destination's alias where the source's points: the last write, which is what servers notice."""
        await self.destination.write(self.present.key, wanted)
        if await self.present.look() != wanted:
            raise changed(self.destination, self.present.key)


def points_at(content: bytes | None) -> Alias | None:
    """What the destination's alias means; None when there is none or it can't be read, which a write mends."""
    try:
        return read_alias(content) if content is not None else None
    except Refused:
        return None


def show(manifest: Manifest) -> None:
    """The champion in the metrics."""
    CHAMPION.clear()
    CHAMPION.labels(manifest.model, manifest.version, manifest.onnx.digest).set(1)
