"""Follows the alias: loads what it points at, and keeps what is served when the new model or the store is no good."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from datetime import datetime

import msgspec

from isthmus_inference import metrics
from isthmus_inference.contract import Alias
from isthmus_inference.model import Model, Refused, read_manifest
from isthmus_inference.settings import Settings
from isthmus_inference.store import Store, StoreUnavailable, Unchanged

logger = logging.getLogger("isthmus.watch")
REFUSED_AGAIN_SECONDS = 60  # a refused model is looked at again now and then: its files may have been mended


class Serving:
    """What the server answers with. `model` is swapped in one assignment: a request uses the one it began with."""

    def __init__(self) -> None:
        self.model: Model | None = None
        self.draining = False

    @property
    def ready(self) -> bool:
        return self.model is not None and not self.draining


class Watcher:
    """Keeps `serving.model` at what the alias points at."""

    def __init__(self, settings: Settings, serving: Serving) -> None:
        self.settings, self.serving, self.store = settings, serving, Store(settings)
        self.etag: str | None = None  # of the alias whose model is served
        self.refusal: tuple[str | None, str, float] = (None, "", 0.0)  # an alias' ETag, why, and until when it stands
        self.last = ("", "")

    async def run(self) -> None:
        """Looks at the alias for ever; until there is a model, every second at least."""
        while True:
            await self.check()
            pause = self.settings.poll_seconds
            await asyncio.sleep(pause if self.serving.model else min(pause, 1.0))

    async def check(self) -> str:
        """One look; returns, counts and (when it differs from the last) logs what came of it."""
        try:
            result, message = "loaded", await self.follow()
        except Unchanged:
            result, message = "unchanged", "the object store answers, and the alias is as it was"
        except StoreUnavailable as fault:
            result, message = "unavailable", str(fault)
        except Refused as fault:
            result, message = "refused", str(fault)
        except Exception as fault:  # the watcher must outlive what nobody thought of
            logger.exception("looking at the alias failed")
            result, message = "error", repr(fault)
        metrics.CHECKS.labels(result).inc()
        if result != "unavailable":
            metrics.CHECKED.set(time.time())
        quiet = result == "unchanged" and self.last[0] in ("loaded", "unchanged")
        if (result, message) != self.last and not quiet:
            level = logging.INFO if result in ("loaded", "unchanged") else logging.WARNING
            served = self.serving.model.version if self.serving.model else None
            logger.log(level, message, extra={"facts": {"result": result, "served_version": served}})
        self.last = (result, message)
        return result

    async def follow(self) -> str:
        """Loads the model that the alias points at, if it is another than the one served."""
        name, served = self.settings.model, self.serving.model
        found = await self.store.get(f"models/{name}/aliases/{self.settings.alias}.json", unless=self.etag)
        etag = found.etag
        if self.refusal[0] == etag and time.monotonic() < self.refusal[2]:
            raise Refused(self.refusal[1])
        try:
            alias = read_alias(found.content)
            if served and (served.version, served.manifest_digest) == (alias.version, alias.manifest_digest):
                self.etag = etag
                raise Unchanged
            model, published = await self.load(name, alias)
        except Refused as fault:
            self.refusal = (etag, str(fault), time.monotonic() + REFUSED_AGAIN_SECONDS)
            raise
        self.etag, self.serving.model = etag, model
        for gauge, value in ((metrics.SERVED, 1), (metrics.PUBLISHED, published.timestamp())):
            gauge.clear()
            gauge.labels(name, model.version, model.digest).set(value)
        gc.collect()
        gc.freeze()  # what a model brings stays: later collections need not walk it, which shows in the slowest answers
        return f"serving {name} {model.version} {model.digest}"

    async def load(self, name: str, alias: Alias) -> tuple[Model, datetime]:
        """The verified model, and when it was published: its manifest is the last that is written of a version.

        What takes long is done in a thread, so that requests are answered meanwhile.
        """
        folder = f"models/{name}/versions/{alias.version}"
        described = await self.store.get(f"{folder}/manifest.json")
        manifest = read_manifest(described.content, name=name, version=alias.version, promised=alias.manifest_digest)
        onnx = await self.store.get(f"{folder}/model.onnx")
        return await asyncio.to_thread(Model, manifest, alias.manifest_digest, onnx.content), described.written


def read_alias(content: bytes) -> Alias:
    """What the alias points at; Refused when it can't be read."""
    try:
        return msgspec.json.decode(content, type=Alias)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Refused(f"the alias can't be read: {fault}") from None
