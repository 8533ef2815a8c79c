"""Progress of a sync: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Report:
    """Each step reports its start, its parts and its end; thread-safe."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._lock = threading.Lock()
        self._started: dict[str, float] = {}
        self._tasks: dict[str, TaskID] = {}
        self._live: Progress | None = None
        if sys.stdout.isatty():
            columns = (SpinnerColumn(), TextColumn("{task.description:<28}"), TextColumn("{task.fields[step]:<40}"))
            self._live = Progress(*columns, TimeElapsedColumn())

    def __enter__(self) -> Report:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def start(self, name: str, step: str) -> None:
        with self._lock:
            self._started[name] = time.monotonic()
            if self._live:
                self._tasks[name] = self._live.add_task(name, step=step, total=None)
        self._line(name, step)

    def step(self, name: str, step: str) -> None:
        if self._live:
            self._live.update(self._tasks[name], step=step)
        self._line(name, step)

    def end(self, name: str, outcome: str) -> None:
        with self._lock:
            self.done += 1
            if self._live:
                self._live.remove_task(self._tasks.pop(name))
        self._line(name, f"{outcome} ({self.done} of {self.total})", keep=True)

    def _line(self, name: str, text: str, *, keep: bool = False) -> None:
        line = f"    {name:<28} {text:<44} {time.monotonic() - self._started[name]:7.1f} s"
        if self._live is None:
            # One write a line: threads share the stream.
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        elif keep:
            self._live.console.print(line, highlight=False)
