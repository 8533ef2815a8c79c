"""Moves one version: verified before it is written, read back after. Doing it again changes nothing."""

from __future__ import annotations

import hashlib
import logging

from isthmus_replication import metrics
from isthmus_replication.contract import Alias, File, Manifest, folder, read_manifest
from isthmus_replication.faults import Refused
from isthmus_replication.scratch import Scratch
from isthmus_replication.store import PART_BYTES, Missing, Store

logger = logging.getLogger("isthmus.transfer")


async def transfer(
    source: Store, destination: Store, scratch: Scratch, name: str, alias: Alias
) -> tuple[Manifest, list[str]]:
    """Makes the destination hold the version; returns its manifest, and which files had to be written.

    The order is publish.py's: the model goes before the manifest, so a version with a manifest is whole. What must be
    there is known, so an object that differs was damaged, and is mended.
    """
    place = folder(name, alias.version)
    try:
        content, _ = await source.read(f"{place}/manifest.json")
    except Missing:
        raise Refused(
            f"the alias names {name} {alias.version}, but {source.where} has no {place}/manifest.json"
        ) from None
    manifest, written = read_manifest(content, name, alias), []
    onnx = f"{place}/model.onnx"
    if not await holds(destination, onnx, manifest.onnx):
        await copy(source, destination, scratch, onnx, manifest.onnx)
        written.append("model.onnx")
    if await put(destination, f"{place}/manifest.json", content):
        written.append("manifest.json")
    scratch.drop()  # not before all of it is there: a destination that fails must not cost the link a second copy
    return manifest, written


async def copy(
    source: Store,
    destination: Store,
    scratch: Scratch,
    key: str,
    promised: File,
    attributes: dict[str, str] | None = None,
) -> None:
    """Copies one object, whatever the destination has there, and reads it back."""
    await fetch(source, key, promised, scratch)
    large = promised.size > PART_BYTES
    await destination.write(key, scratch.content() if large else b"".join(scratch.content()), attributes)
    if not await holds(destination, key, promised):
        raise changed(destination, key)
    metrics.COPIED.inc(promised.size)


async def put(store: Store, key: str, content: bytes) -> bool:
    """Writes a small object unless it is there, and reads it back; whether it had to be written."""
    if await small(store, key) == content:
        return False
    await store.write(key, content)
    if await small(store, key) != content:
        raise changed(store, key)
    metrics.COPIED.inc(len(content))
    return True


async def small(store: Store, key: str) -> bytes | None:
    """A small object, or None when there is none."""
    try:
        return (await store.read(key))[0]
    except Missing:
        return None


async def fetch(source: Store, key: str, promised: File, scratch: Scratch) -> None:
    """Fills the scratch file, from where the last try ended; Refused when the object is not what was promised."""
    if promised.size > scratch.limit:
        raise Refused(
            f"{key} has {promised.size} bytes; ISTHMUS_SCRATCH_BYTES allows {scratch.limit}."
            " Fix: raise it, and the size of the volume at ISTHMUS_SCRATCH_DIR"
        )
    scratch.expect(promised.digest)
    if 0 < scratch.received < promised.size:
        logger.info("resuming", extra={"facts": {"key": key, "at_byte": scratch.received, "of": promised.size}})
    while scratch.received < promised.size:
        end = min(scratch.received + PART_BYTES, promised.size)
        try:
            meta, chunks = await source.part(key, scratch.received, end)
        except Missing:
            raise Refused(f"{source.where} has no {key}, which was promised") from None
        if meta["size"] != promised.size:
            raise Refused(f"{key} has {meta['size']} bytes, {promised.size} were promised")
        if scratch.received and meta["e_tag"] != scratch.etag:
            logger.info("the object was written anew at the source: reading it anew", extra={"facts": {"key": key}})
            scratch.drop()
            continue
        scratch.etag = meta["e_tag"]
        async for chunk in chunks:
            scratch.append(chunk)
            metrics.RECEIVED.inc(len(chunk))
    if scratch.digest != promised.digest:
        found = scratch.digest
        scratch.drop()
        raise Refused(f"{key} has digest {found}, {promised.digest} was promised")


async def holds(store: Store, key: str, promised: File) -> bool:
    """Whether the store has exactly this object. Reads all of it, in parts: an ETag says nothing about its content."""
    seen, received, etag = hashlib.sha256(), 0, None
    while received < promised.size:
        try:
            meta, chunks = await store.part(key, received, min(received + PART_BYTES, promised.size))
        except Missing:
            return False
        if meta["size"] != promised.size or etag not in (None, meta["e_tag"]):
            return False
        etag = meta["e_tag"]
        async for chunk in chunks:
            seen.update(chunk)
            received += len(chunk)
    return f"sha256:{seen.hexdigest()}" == promised.digest


def changed(store: Store, key: str) -> Refused:
    """An object that is not what was written."""
    return Refused(f"{key} reads back changed from {store.where}. Fix: check that store's disks", reason="unverified")
