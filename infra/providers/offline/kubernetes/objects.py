"""Making, reading, changing and deleting one object, in plain values."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.providers.isthmus.handler import has_unknown
from infra.providers.isthmus.log import EngineLog
from infra.providers.offline.kubernetes import awaiting, drift, errors, ignoring, naming, shape
from infra.providers.offline.kubernetes.awaiting.wait import Patience, not_ready_because, until_gone, until_ready
from infra.providers.offline.kubernetes.client import RETRY_SECONDS, Cluster
from infra.providers.offline.kubernetes.config import Settings
from infra.providers.offline.kubernetes.kinds import Kind

DELETE_SECONDS = 600
ORDER_SECONDS = 20
"""How long a create waits for a namespace or a definition that is made beside it."""
PREVIEW_SECONDS = 5
"""How long a preview waits for a cluster that does not answer."""

Object = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of the engine. `seconds`: the resource's custom timeout, 0 without one; `ignored`: its ignoreChanges."""

    urn: str
    kind: Kind
    log: EngineLog
    seconds: float = 0
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Result:
    """An object as it is now; with `reasons`, it exists but is not ready, and the next `up` goes on from there."""

    rid: str
    outputs: Object
    inputs: Object
    reasons: tuple[str, ...] = ()


class Objects:
    """All objects of one cluster."""

    def __init__(self, settings: Settings, cluster: Cluster, cancelled: threading.Event) -> None:
        self._settings = settings
        self._cluster = cluster
        self._cancelled = cancelled

    def create(self, call: Call, inputs: Object) -> Result:
        """Apply a new object and wait until it is ready. An object that someone else made is refused."""
        patience = self._patience(call, inputs)
        obj = self._ordered(call, patience, lambda: self._to_api(call.kind, inputs))
        manager = naming.field_manager(call.urn, inputs, {})
        self._refuse_foreign(call.kind, obj, manager)
        live = self._ordered(call, patience, lambda: self._apply(call.kind, obj, manager))
        return self._settled(call, inputs, live, manager, {}, patience)

    def update(self, call: Call, inputs: Object, state: Object) -> Result:
        """Apply the inputs to an object and wait until it is ready."""
        patience = self._patience(call, inputs)
        manager = naming.field_manager(call.urn, inputs, state)
        try:
            obj = self._to_api(call.kind, inputs)
            live = self._apply(call.kind, self._without_ignored(call, obj, manager), manager)
        except errors.Unreachable as error:
            if not self._settings.skip_update_unreachable:
                raise
            call.log.warning(f"{error}; left as it is, because skipUpdateUnreachable is set")
            return Result(rid=naming.identifier(state), outputs=state, inputs=inputs)
        return self._settled(call, inputs, live, manager, state, patience)

    def preview(self, call: Call, inputs: Object, state: Object) -> Object:
        """The outputs that a create (`state` empty) or an update would give, tried on the server without effect."""
        if has_unknown(inputs):
            return shape.overlaid(state, inputs) if state else shape.promised(call.kind, inputs, inputs)
        manager = naming.field_manager(call.urn, inputs, state)
        try:
            obj = self._to_api(call.kind, inputs)
            if not state and self._look(call.kind, obj, retry=PREVIEW_SECONDS) is not None:
                # It may be the one that this create replaces, so what the server would say to a change tells nothing.
                return shape.promised(call.kind, inputs, inputs)
            wanted = self._without_ignored(call, obj, manager, retry=PREVIEW_SECONDS)
            live = self._apply(call.kind, wanted, manager, dry_run=True)
        except errors.Unreachable as error:
            call.log.warning(f"not tried on the server: {error}")
            return shape.overlaid(state, inputs) if state else shape.promised(call.kind, inputs, inputs)
        except errors.ApiError as error:
            if error.status != 404:
                raise
            # Its namespace or its definition is yet to be made.
            return shape.overlaid(state, inputs) if state else shape.promised(call.kind, inputs, inputs)
        if state:
            return shape.outputs(call.kind, live, manager, state)
        return shape.promised(call.kind, shape.from_api(call.kind, live), inputs)

    def read(self, call: Call, rid: str, inputs: Object, state: Object) -> Result | None:
        """The object as it is, and the inputs that it shows; None when it is gone."""
        namespace, name = naming.split(rid)
        try:
            live = self._cluster.get(call.kind, namespace, name)
        except errors.Unreachable as error:
            if not self._settings.delete_unreachable:
                raise
            call.log.warning(f"{error}; taken as gone, because deleteUnreachable is set")
            return None
        if live is None:
            return None
        seen = shape.from_api(call.kind, live)
        manager = naming.field_manager(call.urn, inputs, state)
        skip = not state or naming.flag(seen, naming.SKIP_AWAIT)
        return Result(
            rid=rid,
            outputs=shape.outputs(call.kind, live, manager, state),
            inputs=drift.live_inputs(inputs, seen),
            reasons=() if skip else not_ready_because(self._cluster, call.kind, live),
        )

    def delete(self, call: Call, rid: str, state: Object) -> None:
        """Delete an object with what it owns, and wait until it is gone."""
        namespace, name = naming.split(rid)
        policy = (naming.annotation(state, naming.DELETION_POLICY) or "foreground").capitalize()
        patience = Patience(call.seconds or _annotated_seconds(state) or DELETE_SECONDS, self._cancelled)
        try:
            live = self._cluster.get(call.kind, namespace, name)
            if live is None or not self._cluster.delete(call.kind, namespace, name, propagation=policy):
                return
            if naming.flag(state, naming.SKIP_AWAIT):
                return
            uid = live["metadata"]["uid"]
            if held := until_gone(self._cluster, call.kind, namespace, name, uid, call.log, patience):
                raise errors.ApiError(f"delete {call.kind} {rid}: {held}", status=0)
        except errors.Unreachable as error:
            if not self._settings.delete_unreachable:
                raise
            call.log.warning(f"{error}; taken as deleted, because deleteUnreachable is set")

    def _to_api(self, kind: Kind, inputs: Object) -> Object:
        return shape.to_api(self._cluster.resolve(kind), inputs, self._settings.namespace)

    def _without_ignored(self, call: Call, obj: Object, manager: str, *, retry: float = RETRY_SECONDS) -> Object:
        """The object to apply, with what ignoreChanges names as the cluster has it."""
        if not call.ignored:
            return obj
        live = self._look(call.kind, obj, retry=retry)
        return obj if live is None else ignoring.leave(obj, live, call.ignored, manager)

    def _look(self, kind: Kind, obj: Object, *, retry: float) -> Object | None:
        metadata = obj["metadata"]
        return self._cluster.get(kind, metadata.get("namespace"), metadata["name"], retry=retry)

    def _apply(self, kind: Kind, obj: Object, manager: str, *, dry_run: bool = False) -> Object:
        force = self._settings.force or naming.flag(obj, naming.FORCE)
        retry = PREVIEW_SECONDS if dry_run else RETRY_SECONDS
        return self._cluster.apply(kind, obj, manager=manager, force=force, dry_run=dry_run, retry=retry)

    def _settled(
        self, call: Call, inputs: Object, live: Object, manager: str, state: Object, patience: Patience
    ) -> Result:
        reasons: tuple[str, ...] = ()
        if not naming.flag(inputs, naming.SKIP_AWAIT):
            try:
                outcome = until_ready(self._cluster, call.kind, live, call.log, patience)
                live, reasons = outcome.obj, outcome.reasons
            except (errors.ApiError, errors.Unreachable, errors.Cancelled) as error:
                # The object is there, whatever became of watching it: the engine must not forget it.
                reasons = (str(error),)
        kept = shape.outputs(call.kind, live, manager, state)
        return Result(rid=naming.identifier(live), outputs=kept, inputs=inputs, reasons=reasons)

    def _refuse_foreign(self, kind: Kind, obj: Object, manager: str) -> None:
        if self._settings.upsert:
            return
        live = self._look(kind, obj, retry=PREVIEW_SECONDS)
        if live is None or naming.flag(obj, naming.FORCE):
            return
        entries = live["metadata"].get("managedFields") or []
        ours = any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in entries)
        if ours or not entries:
            # An earlier run made it and was killed before the engine heard of it. (An object that is nothing but its
            # name has no owner that could tell.)
            return
        owners = ", ".join(sorted({entry.get("manager", "?") for entry in entries}))
        raise errors.ApiError(
            f"{kind} {naming.identifier(obj)} already exists, made by {owners}; import it (pulumi import), delete it, "
            "name yours otherwise, or set upsertExistingObjects on the provider to take it over",
            status=409,
        )

    def _ordered(self, call: Call, patience: Patience, attempt: Callable[[], Object]) -> Object:
        """Tries until what the object needs is there: its namespace, its definition, its service account."""
        while True:
            try:
                return attempt()
            except errors.ApiError as error:
                early = error.status == 404 or (error.status == 403 and "serviceaccount" in str(error))
                if not early or patience.elapsed > ORDER_SECONDS:
                    raise
                call.log.status(f"waiting: {error}")
            if not patience.pause(1):
                raise errors.Cancelled("interrupted")

    def _patience(self, call: Call, inputs: Object) -> Patience:
        awaiter = awaiting.of(call.kind)
        usual = awaiter.seconds if awaiter else 60
        return Patience(call.seconds or _annotated_seconds(inputs) or usual, self._cancelled)


def _annotated_seconds(obj: Object) -> float:
    text = naming.annotation(obj, naming.TIMEOUT) or ""
    return float(text) if text.isdecimal() else 0
