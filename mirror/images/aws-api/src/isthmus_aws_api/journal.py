"""The requests that changed something, in order, on disk: one line each, and large bodies in files by their digest.

<data>/journal.jsonl     "<crc32 of the rest> <json>", appended and synced before the request is answered
<data>/bodies/<sha256>   bodies of more than INLINE bytes
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from isthmus_aws_api.wire import Request

INLINE: Final = 16 * 1024


class Damaged(Exception):
    """The journal cannot be trusted; the message says where and what to do."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """A request, the moment that it was carried out in, and the status and digest of the answer that it got."""

    what: str
    at: float
    seed: str
    keys: list[str]
    answer: str
    environ: dict[str, str]
    names: dict[str, str]
    body: str
    """base64, or `sha256:<digest>` of a file."""


class Journal:
    """One process at a time has it."""

    def __init__(self, data: Path) -> None:
        self._path, self._bodies = data / "journal.jsonl", data / "bodies"
        self._bodies.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Damaged(f"{self._path} is in use by another process; end that one first") from None
        self.dropped = ""
        """What was found torn at the end and is gone, for a person; empty when the journal was whole."""

    def records(self) -> Iterator[Record]:
        """What was written. A last record that a power cut tore is removed. Raises Damaged for any other."""
        used = set()
        end = 0
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                record = _decoded(line)
                if record is None:
                    if lines.read(1):
                        raise Damaged(
                            f"{self._path} is damaged in line {number}, and what follows builds on it: what was made "
                            "is lost; remove the folder and run `make up`, which makes it all anew"
                        )
                    self.dropped = _named(line, number)
                    os.truncate(self._path, end)
                    os.fsync(self._file)
                    break
                end += len(line)
                used.add(record.body.removeprefix("sha256:"))
                yield record
        for body in self._bodies.iterdir():
            # Written for a request that was cut off before its line was.
            if body.name not in used:
                body.unlink()

    def body(self, record: Record) -> bytes:
        """What the request carried. Raises Damaged when its file is not what it was."""
        digest = record.body.removeprefix("sha256:")
        if digest == record.body:
            return base64.b64decode(record.body)
        try:
            body = (self._bodies / digest).read_bytes()
        except OSError as error:
            raise Damaged(f"its body cannot be read: {error}") from error
        if hashlib.sha256(body).hexdigest() != digest:
            raise Damaged(f"its body {self._bodies / digest} has changed")
        return body

    def append(self, request: Request, *, at: float, seed: str, keys: list[str], answer: str) -> None:
        """On disk when this returns."""
        record = Record(
            what=request.what,
            at=at,
            seed=seed,
            keys=keys,
            answer=answer,
            environ=dict(request.environ),
            names=dict(request.names),
            body=self._kept(request.body),
        )
        text = json.dumps(asdict(record)).encode()
        line = f"{zlib.crc32(text):08x} ".encode() + text + b"\n"
        while line:
            line = line[os.write(self._file, line) :]
        os.fsync(self._file)

    def _kept(self, body: bytes) -> str:
        if len(body) <= INLINE:
            return base64.b64encode(body).decode()
        digest = hashlib.sha256(body).hexdigest()
        path = self._bodies / digest
        if not path.exists():
            unfinished = path.with_suffix(".new")
            with unfinished.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
            folder = os.open(self._bodies, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        return f"sha256:{digest}"


def _decoded(line: bytes) -> Record | None:
    try:
        checksum, _, text = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or int(checksum, 16) != zlib.crc32(text):
            return None
        values: dict[str, Any] = json.loads(text)
        return Record(**values)
    except (ValueError, TypeError):
        return None


def _named(line: bytes, number: int) -> str:
    what = re.search(rb'"what": "((?:[^"\\]|\\.)*)"', line)
    name = what[1].decode(errors="replace") if what else "a request whose name was not written yet"
    return f"record {number} ({name}) was torn by an interrupted write; its sender got no answer"
