"""Where two sets of inputs differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pulumi.runtime.proto import provider_pb2

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.values import Path

How = Literal["add", "delete", "update"]

KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}
"""(how it differs, whether that means a new thing) as the engine is told."""


def walk(old: Any, new: Any, path: Path = ()) -> Iterator[tuple[Path, How]]:
    """The leaves that differ. A key that holds null is as good as absent."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _pair(old.get(key), new.get(key), (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else None
            after = new[index] if index < len(new) else None
            yield from _pair(before, after, (*path, index))
    elif new is UNKNOWN or old != new or isinstance(old, bool) != isinstance(new, bool):
        yield path, "update"


def _pair(old: Any, new: Any, path: Path) -> Iterator[tuple[Path, How]]:
    if old is None and new is None:
        return
    if old is None and isinstance(new, dict) and new:
        yield from walk({}, new, path)
    elif new is None and isinstance(old, dict) and old:
        yield from walk(old, {}, path)
    elif old is None:
        yield path, "add"
    elif new is None:
        yield path, "delete"
    else:
        yield from walk(old, new, path)
