"""The log file of a run, beside the engine's log: the progress, without the terminal that showed it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from infra.providers.isthmus.events import Log


@dataclass(frozen=True)
class Journal:
    """Writes each message to the file and hands it on. Messages come redacted."""

    path: Path
    file: TextIO
    log: Log

    @classmethod
    @contextlib.contextmanager
    def open(cls, work_dir: Path, playbook: str, log: Log, *, check: bool) -> Iterator[Journal]:
        """The journal `<work_dir>/<playbook>.log` (`.check.log` in check mode); it replaces that of the run before."""
        work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = work_dir / f"{Path(playbook).stem}{'.check' if check else ''}.log"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", buffering=1) as file:
            yield cls(path, file, log)

    def status(self, message: str) -> None:
        """What is being done just now."""
        self.file.write(f"{message}\n")
        self.log.status(message)

    def info(self, message: str) -> None:
        """A line worth keeping."""
        self.file.write(f"{message}\n")
        self.log.info(message)

    def warning(self, message: str) -> None:
        """Something that a person should look at."""
        self.file.write(f"{message}\n")
        self.log.warning(message)
