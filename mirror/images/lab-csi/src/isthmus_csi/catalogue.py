"""Volumes and snapshots of the pool, by name and id. What is recorded exists whole; what is not is unfinished work.

A name gives the id, so a request that is made twice finds what the first one made. The sizes of all that is recorded
never exceed the pool: a volume can always be filled up to its quota.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from isthmus_csi import btrfs
from isthmus_csi.faults import Refusal, already_exists, exhausted, not_found, out_of_range
from isthmus_csi.pool import Pool

GIB = 1024**3
DEFAULT_BYTES = GIB
SMALLEST_BYTES = 1024**2
RESERVED = 0.1
"""Share of the pool that no volume gets: a file system that is full to the brim cannot even delete."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A volume or a snapshot. `source` is the id of what it was made from, empty for an empty volume."""

    id: str
    name: str
    size: int
    source: str = ""
    made: float = 0


@dataclass(frozen=True, kw_only=True)
class Range:
    """Bytes that a request asks for; 0 is no wish."""

    required: int = 0
    limit: int = 0

    def choose(self, otherwise: int) -> int:
        """A size in the range, the smallest there is. Raises Refusal."""
        size = max(self.required or min(otherwise, self.limit or otherwise), SMALLEST_BYTES)
        if self.limit and size > self.limit:
            raise out_of_range(f"{size} bytes are needed, at most {self.limit} are asked for")
        return size

    def holds(self, size: int) -> bool:
        return self.required <= size and (not self.limit or size <= self.limit)


def _id(prefix: str, name: str) -> str:
    return f"{prefix}-{hashlib.sha256(name.encode()).hexdigest()[:24]}"


class Catalogue:
    """Every change is made under the pool's lock and survives an end of the process at any point."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    def volume(self, vid: str) -> Record:
        """The volume of that id. Raises Refusal."""
        return self._known(vid, "vol")

    def snapshot(self, sid: str) -> Record:
        """The snapshot of that id. Raises Refusal."""
        return self._known(sid, "snap")

    def volumes(self) -> list[Record]:
        return self._all("vol")

    def snapshots(self) -> list[Record]:
        return self._all("snap")

    def folder(self, record: Record) -> Path:
        """Where its data is."""
        return (self.pool.volumes if record.id.startswith("vol-") else self.pool.snapshots) / record.id

    def free(self) -> int:
        """Bytes that new volumes and snapshots can still be promised."""
        promised = sum(record.size for record in (*self.volumes(), *self.snapshots()))
        return max(0, int(self.pool.capacity * (1 - RESERVED)) - promised)

    def create_volume(self, name: str, wanted: Range, source: str = "") -> Record:
        """An empty volume, or a copy of the snapshot or volume `source` at this moment. Raises Refusal."""
        with self.pool.locked():
            vid = _id("vol", name)
            if found := self._find(vid):
                if found.source != source or not wanted.holds(found.size):
                    raise already_exists(f"{name} exists with {found.size} bytes and the source {found.source!r}")
                return found
            origin = (self.snapshot(source) if source.startswith("snap-") else self.volume(source)) if source else None
            size = wanted.choose(origin.size if origin else DEFAULT_BYTES)
            if origin and size < origin.size:
                raise out_of_range(f"{size} bytes do not hold {source}, which has {origin.size}")
            self._promise(size)
            record = Record(id=vid, name=name, size=size, source=source, made=time.time())
            target = self._cleared(record)
            if origin:
                btrfs.snapshot(self.folder(origin), target)
            else:
                btrfs.create(target)
                target.chmod(0o755)
            btrfs.limit(target, size)
            self._write(record)
            return record

    def create_snapshot(self, name: str, source: str) -> Record:
        """A volume's content at this moment; it outlives the volume. Raises Refusal."""
        with self.pool.locked():
            sid = _id("snap", name)
            if found := self._find(sid):
                if found.source != source:
                    raise already_exists(f"{name} is a snapshot of {found.source}")
                return found
            volume = self.volume(source)
            self._promise(volume.size)
            record = Record(id=sid, name=name, size=volume.size, source=source, made=time.time())
            btrfs.snapshot(self.folder(volume), self._cleared(record), read_only=True)
            self._write(record)
            return record

    def expand(self, vid: str, wanted: Range) -> Record:
        """Let a volume hold more, at once and in use; it never shrinks. Raises Refusal."""
        with self.pool.locked():
            record = self.volume(vid)
            size = wanted.choose(record.size)
            if size <= record.size:
                return record
            self._promise(size - record.size)
            # The quota first: if the process ends here, the request is made again.
            btrfs.limit(self.folder(record), size)
            larger = Record(**{**asdict(record), "size": size})
            self._write(larger)
            return larger

    def delete(self, rid: str) -> None:
        """Remove a volume or snapshot; what is not there is gone already."""
        with self.pool.locked():
            if record := self._find(rid):
                self._cleared(record)
                self._file(rid).unlink()

    def _cleared(self, record: Record) -> Path:
        """Its folder, which is not there: what an interrupted request left is removed."""
        target = self.folder(record)
        if target.exists():
            btrfs.delete(target)
        return target

    def _promise(self, size: int) -> None:
        if size > (free := self.free()):
            raise exhausted(f"{size} bytes are asked for, the pool has {free} left of {self.pool.capacity}")

    def _file(self, rid: str) -> Path:
        return self.pool.records / f"{rid}.json"

    def _find(self, rid: str) -> Record | None:
        # Ids come from outside: only what could have been made here is looked for.
        if not rid.replace("-", "").isalnum():
            return None
        try:
            return Record(**json.loads(self._file(rid).read_text()))
        except FileNotFoundError:
            return None

    def _known(self, rid: str, prefix: str) -> Record:
        record = self._find(rid) if rid.startswith(f"{prefix}-") else None
        if record is None:
            raise not_found(f"there is no {rid}")
        return record

    def _all(self, prefix: str) -> list[Record]:
        found = (self._find(path.stem) for path in sorted(self.pool.records.glob(f"{prefix}-*.json")))
        return [record for record in found if record]

    def _write(self, record: Record) -> None:
        path = self._file(record.id)
        unfinished = path.with_suffix(".new")
        with unfinished.open("w") as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)


__all__ = ["Catalogue", "Range", "Record", "Refusal"]
