"""One command at a time on one environment of one checkout."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from infra.paths import state
from ops.console import Failure


@contextmanager
def held(environment: str) -> Iterator[None]:
    """Holds the environment's lock; the kernel frees it when the holder ends, however it ends."""
    folder = state(environment)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(
                f"another command is at work on environment {environment}",
                fix="wait until it has ended, or end it, and run this one again",
            ) from None
        yield
