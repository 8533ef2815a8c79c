"""Waiting for an object, with its progress in the engine's log."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from infra.providers.isthmus.log import EngineLog
from infra.providers.offline.kubernetes import awaiting, errors
from infra.providers.offline.kubernetes.awaiting.verdict import Awaiter, Object, Verdict
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.kubernetes.kinds import Kind

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 2.0
EXPLAIN_SECONDS = 8
"""How often a wait asks for pods and events, to show what holds it up."""


@dataclass
class Patience:
    """How long one operation may wait, and whether the user has given up on it."""

    seconds: float
    cancelled: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """The time starts now."""
        self.began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.elapsed >= self.seconds

    def pause(self, seconds: float) -> bool:
        """Sleeps; False when the user interrupted."""
        return not self.cancelled.wait(min(seconds, max(self.seconds - self.elapsed, 0.05)))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a wait ended: the object as last seen, and the reasons why it is not ready (none when it is)."""

    obj: Object
    reasons: tuple[str, ...] = ()


def until_ready(cluster: Cluster, kind: Kind, obj: Object, log: EngineLog, patience: Patience) -> Outcome:
    """Waits until the object is ready, cannot become ready, is gone, or the time is up."""
    awaiter = awaiting.of(kind)
    if awaiter is None:
        return Outcome(obj=obj)
    metadata, pause, said, explained = obj["metadata"], FIRST_PAUSE, "", 0.0
    while True:
        verdict = _judge(cluster, awaiter, obj)
        if verdict.ready:
            return Outcome(obj=obj)
        if verdict.hopeless:
            return Outcome(obj=obj, reasons=_reasons(cluster, awaiter, obj, verdict.missing))
        if patience.over:
            waited = f"still not ready after {patience.seconds:.0f} s: {verdict.missing}"
            return Outcome(obj=obj, reasons=_reasons(cluster, awaiter, obj, waited))
        message = verdict.missing
        if patience.elapsed - explained > EXPLAIN_SECONDS:
            explained = patience.elapsed
            message = "; ".join(_reasons(cluster, awaiter, obj, message)[:2])
        if message != said:
            log.status(message)
            said = message
        if not patience.pause(pause):
            return Outcome(obj=obj, reasons=_reasons(cluster, awaiter, obj, f"interrupted: {verdict.missing}"))
        pause = min(pause * 1.3, LONGEST_PAUSE)
        live = _look(cluster, kind, metadata.get("namespace"), metadata["name"], patience)
        if live is None:
            return Outcome(obj=obj, reasons=(f"{metadata['name']} was deleted by someone else while it was awaited",))
        obj = live


def not_ready_because(cluster: Cluster, kind: Kind, obj: Object) -> tuple[str, ...]:
    """Why the object is not ready at this moment; empty when it is."""
    awaiter = awaiting.of(kind)
    verdict = awaiter.check(cluster, obj) if awaiter else None
    if awaiter is None or verdict is None or verdict.ready:
        return ()
    return _reasons(cluster, awaiter, obj, verdict.missing)


def until_gone(
    cluster: Cluster, kind: Kind, namespace: str | None, name: str, uid: str, log: EngineLog, patience: Patience
) -> str:
    """Waits until no object has this uid any more; returns what holds it, empty when it is gone."""
    pause, said = FIRST_PAUSE, ""
    while True:
        obj = _look(cluster, kind, namespace, name, patience)
        if obj is None or obj["metadata"]["uid"] != uid:
            return ""
        finalizers = obj["metadata"].get("finalizers") or []
        held = [f"finalizers {', '.join(finalizers)}"] if finalizers else []
        held += [
            entry.get("message", "")
            for entry in (obj.get("status") or {}).get("conditions") or []
            if kind.name == "Namespace" and entry.get("status") == "True"
        ]
        message = f"being deleted{': ' if held else ''}{'; '.join(held)}"
        if patience.over:
            return f"still there after {patience.seconds:.0f} s, {message}"
        if message != said:
            log.status(message)
            said = message
        if not patience.pause(pause):
            return f"interrupted while {message}"
        pause = min(pause * 1.3, LONGEST_PAUSE)


def _judge(cluster: Cluster, awaiter: Awaiter, obj: Object) -> Verdict:
    """The awaiter's verdict. An API server that does not answer for a while is a failover, not the end of the wait."""
    try:
        return awaiter.check(cluster, obj)
    except (errors.ApiError, errors.Unreachable) as error:
        if not _passing(error):
            raise
        return Verdict(str(error))


def _look(cluster: Cluster, kind: Kind, namespace: str | None, name: str, patience: Patience) -> Object | None:
    """The live object, as patient with the API server as _judge."""
    while True:
        try:
            return cluster.get(kind, namespace, name)
        except (errors.ApiError, errors.Unreachable) as error:
            if not _passing(error) or patience.over or not patience.pause(LONGEST_PAUSE):
                raise


def _passing(error: Exception) -> bool:
    return not isinstance(error, errors.ApiError) or error.transient


def _reasons(cluster: Cluster, awaiter: Awaiter, obj: Object, first: str) -> tuple[str, ...]:
    try:
        return (first, *awaiter.explain(cluster, obj))
    except (errors.ApiError, errors.Unreachable, errors.Cancelled):
        # Why it failed is worth less than that it failed.
        return (first,)
