"""The one file on this side of the link: what has come of a model so far, kept when the link is cut."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from isthmus_replication.faults import Fault
from isthmus_replication.settings import BadSettings

READ_BYTES = 2**20


class Scratch:
    """A file without a name: it ends with the process, and no other can find it. Appended to, then read whole."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        try:
            self.file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  (as long as the process)
        except OSError as fault:
            raise BadSettings(f"ISTHMUS_SCRATCH_DIR: {fault.strerror}: {folder}") from None
        self.wanted: str | None = None
        self.drop()

    def drop(self) -> None:
        """Forgets what came."""
        self.file.truncate(0)
        self.received, self.etag, self.seen = 0, "", hashlib.sha256()

    def expect(self, digest: str) -> None:
        """Keeps what came if it is of the object with this digest."""
        if digest != self.wanted:
            self.drop()
        self.wanted = digest

    def append(self, chunk: bytes) -> None:
        """Adds bytes, or leaves everything as it was."""
        try:
            self.file.seek(self.received)
            rest = memoryview(chunk)
            while rest:
                rest = rest[self.file.write(rest) :]
        except OSError as fault:
            raise Fault(
                "scratch",
                f"ISTHMUS_SCRATCH_DIR: {fault.strerror}: {self.folder}."
                f" Fix: give it room for ISTHMUS_SCRATCH_BYTES, {self.limit} bytes",
            ) from None
        self.received += len(chunk)
        self.seen.update(chunk)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of what came so far."""
        return f"sha256:{self.seen.hexdigest()}"

    def content(self) -> Iterator[bytes]:
        """All that came, a megabyte at a time."""
        self.file.seek(0)
        while chunk := self.file.read(READ_BYTES):
            yield chunk
