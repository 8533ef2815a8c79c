"""What an await says about an object: ready, not yet, or never."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.values import at

Object = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """`missing` is what it still waits for, empty when ready; with `hopeless`, waiting longer will not help."""

    missing: str = ""
    hopeless: bool = False

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


READY = Verdict()


def _nothing(_cluster: Cluster, _obj: Object) -> list[str]:
    return []


@dataclass(frozen=True, kw_only=True)
class Awaiter:
    """How one kind is awaited. `explain` says for people why an object is not ready; it may ask for pods and events."""

    check: Callable[[Cluster, Object], Verdict]
    explain: Callable[[Cluster, Object], list[str]] = _nothing
    seconds: float = 600


def condition(obj: Object, name: str) -> dict[str, str]:
    """A condition of the object's status; empty when it has none of that name."""
    conditions = at(obj, "status", "conditions") or []
    return next((entry for entry in conditions if entry.get("type") == name), {})


def says(obj: Object, name: str, value: str = "True") -> bool:
    """Whether a condition has that value."""
    return condition(obj, name).get("status") == value


def why(obj: Object, name: str) -> str:
    """A condition's reason and message."""
    entry = condition(obj, name)
    return ": ".join(part for part in (entry.get("reason"), entry.get("message")) if part)


def observed(obj: Object) -> bool:
    """Whether the controller has seen the object's latest version, so that its status speaks about that."""
    return (at(obj, "status", "observedGeneration") or 0) >= (at(obj, "metadata", "generation") or 0)
