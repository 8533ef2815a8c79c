"""What a person sees of long work: phases with their time, and a last line that says what failed and what to do."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Failure(Exception):
    """Work that can't go on: what failed, the log to read, and the fix."""

    def __init__(self, what: str, *, fix: str, log: Path | None = None) -> None:
        self.what, self.fix, self.log = what, fix, log
        where = f" Log: {log}." if log else ""
        super().__init__(f"{what}.{where} Fix: {fix}")


def say(text: str) -> None:
    """One line for the person at the terminal."""
    print(text, flush=True)


class Phases:
    """Times the phases of a command and prints them as they go."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        say(f"==> {name}")
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - start
        say(f"    {name}: {self.seconds[name]:.1f} s")

    def step(self, text: str) -> None:
        """A line of progress with the time since the command began."""
        say(f"    [{time.monotonic() - self.began:6.1f} s] {text}")

    def table(self) -> str:
        total = time.monotonic() - self.began
        rows = [*self.seconds.items(), ("total", total)]
        return "\n".join(f"    {name:<28} {seconds:7.1f} s" for name, seconds in rows)


def run_reporting(main) -> int:
    """Runs a command; a Failure becomes one line on stderr and status 1."""
    try:
        return int(main() or 0)
    except Failure as failure:
        print(f"isthmus: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("isthmus: interrupted; nothing is lost, the same command continues", file=sys.stderr)
        return 130
