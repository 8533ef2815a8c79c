"""What every resource of this provider implements, in plain Python values.

`provider.py` speaks the engine's protocol (secrets, unknowns, previews, failures) and calls these handlers in threads,
several side by side. So a handler neither knows about gRPC nor keeps state between calls.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Protocol

from infra.providers.isthmus.log import EngineLog


class Unknown:
    """A value that the engine does not know yet, because another resource is still to make it."""

    _only: ClassVar[Unknown | None] = None

    def __new__(cls) -> Unknown:
        """There is one such value, so that `is` works."""
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        """An unknown value is neither empty nor false: say what is meant with `is UNKNOWN`."""
        raise TypeError("an unknown value has no truth; compare it with `is UNKNOWN`")


UNKNOWN: Final = Unknown()


def has_unknown(value: Any) -> bool:
    """Whether UNKNOWN is the value or stands anywhere inside it."""
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a handler is told about the call that it serves."""

    urn: str
    preview: bool
    log: EngineLog
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the person pressed Ctrl-C: long work stops at the next safe point and raises ResourceError."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One property that differs. `path` is a property path such as `disks["/var/lib/etcd"]`; `detail` is for people."""

    path: str
    kind: Literal["add", "delete", "update"]
    replace: bool = False
    detail: str = ""


class ResourceError(Exception):
    """What a person can act upon: the message says what failed, why, and what to do."""


class PartialFailure(ResourceError):
    """The resource exists but is unfinished: the engine keeps `state`, and the next `up` continues from it.

    `rid` is the resource's id; only a failing `create` has to say it.
    """

    def __init__(self, message: str, *, state: dict[str, Any], rid: str = "") -> None:
        super().__init__(message)
        self.state = state
        self.rid = rid


class Handler(Protocol):
    """One resource type. Any exception but PartialFailure means: nothing was made or changed."""

    token: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]
    """Keys that the resource adds to its inputs; unknown in the preview of a create."""
    secrets: ClassVar[frozenset[str]]
    """Keys whose values are encrypted in the engine's state and hidden in its output."""

    def check(self, news: dict[str, Any]) -> dict[str, str]:
        """Property -> reason for each input that is refused; empty when all are fine. Unknown values are UNKNOWN."""

    def diff(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> list[Change]:
        """What differs between the last known state (inputs and outputs) and the wanted inputs; may hold UNKNOWN."""

    def create(self, ctx: Context, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Make it: the id and the outputs, inputs included. Not called for a preview."""

    def read(self, ctx: Context, rid: str, state: dict[str, Any]) -> dict[str, Any] | None:
        """The state as it is now, or None when the resource is gone."""

    def update(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        """Bring it to the wanted inputs: the outputs, inputs included. Not called for a preview."""

    def delete(self, ctx: Context, rid: str, state: dict[str, Any]) -> None:
        """Remove it; fine when it is gone already."""


def input_changes(
    olds: dict[str, Any],
    news: dict[str, Any],
    *,
    replace: frozenset[str] = frozenset(),
    ignore: frozenset[str] = frozenset(),
) -> list[Change]:
    """The top-level inputs that differ; those named in `replace` need a new resource, those in `ignore` do not count.

    `olds` holds outputs too, so a key that is only in `olds` cannot be told from an output and is not a change.
    """
    changes = []
    for key in sorted(news.keys() - ignore):
        if key not in olds:
            changes.append(Change(path=key, kind="add", replace=key in replace))
        elif has_unknown(news[key]) or olds[key] != news[key]:
            changes.append(Change(path=key, kind="update", replace=key in replace))
    return changes
