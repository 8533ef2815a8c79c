"""Time and chance of one request. Given the same ones, a request makes the same thing again: ids, dates, addresses.

Python's own sources of both are replaced, once for the process. Outside a moment they are what they were, and so they
are in other threads.
"""

from __future__ import annotations

import datetime
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Moment:
    """`at`: seconds since 1970. `keys`: PEM texts of the private keys that were drawn in it, in order."""

    at: float
    seed: str
    keys: list[str] = field(default_factory=list)
    keys_taken: int = 0

    def __post_init__(self) -> None:
        self.entropy = random.Random(self.seed)


class _Current(threading.local):
    moment: Moment | None = None


_current = _Current()
_time, _urandom = time.time, os.urandom


def current() -> Moment | None:
    """The moment that this thread is in."""
    return _current.moment


@contextmanager
def within(moment: Moment) -> Iterator[None]:
    """Time stands still, and chance repeats itself for the same seed."""
    before = _current.moment
    _current.moment = moment
    state = random.getstate()
    random.seed(moment.seed)
    try:
        yield
    finally:
        random.setstate(state)
        _current.moment = before


class Datetime(datetime.datetime):
    """datetime.datetime with the moment's now."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        """See datetime.datetime.now."""
        return super().now(tz) if _current.moment is None else cls.fromtimestamp(_current.moment.at, tz)

    @classmethod
    def utcnow(cls) -> Any:
        """See datetime.datetime.utcnow."""
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        """See datetime.datetime.today."""
        return cls.now()


def _time_now() -> float:
    return _time() if _current.moment is None else _current.moment.at


def _random_bytes(size: int) -> bytes:
    return _urandom(size) if _current.moment is None else _current.moment.entropy.randbytes(size)


def install() -> None:
    """Put this clock and this chance in place of Python's."""
    datetime.datetime = Datetime  # type: ignore[misc]
    time.time = _time_now
    os.urandom = _random_bytes
    # What `secrets`, SystemRandom and uuid4 draw from.
    random._urandom = _random_bytes  # type: ignore[attr-defined]


def key_pairs(draw: Callable[..., Any], dump: Callable[[Any], str], load: Callable[[str], Any]) -> Callable[..., Any]:
    """`draw`, which makes a private key by OpenSSL's own chance, so that a moment that has its keys gives those.

    OpenSSL takes no seed: this is the one thing that has to be kept as it came out.
    """

    def again(*args: Any, **kwargs: Any) -> Any:
        moment = _current.moment
        if moment is None:
            return draw(*args, **kwargs)
        if moment.keys_taken == len(moment.keys):
            moment.keys.append(dump(draw(*args, **kwargs)))
        moment.keys_taken += 1
        return load(moment.keys[moment.keys_taken - 1])

    return again
