"""The provider `isthmus`: the engine's calls, handed to the handler of the resource's type.

Handlers run in threads, because they wait for machines and playbooks, and several resources are made side by side.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pulumi.provider.experimental import provider as sdk

from infra.providers.isthmus.handler import UNKNOWN, Change, Context, Handler, PartialFailure, ResourceError
from infra.providers.isthmus.log import Engine, EngineLog
from infra.providers.isthmus.values import Properties, plain_map, wire, wire_map

Answer = TypeVar("Answer")

# More machines than this do not boot side by side; the engine's own --parallel is lower in practice.
THREADS = 32

KINDS = {
    ("add", False): sdk.PropertyDiffKind.ADD,
    ("add", True): sdk.PropertyDiffKind.ADD_REPLACE,
    ("delete", False): sdk.PropertyDiffKind.DELETE,
    ("delete", True): sdk.PropertyDiffKind.DELETE_REPLACE,
    ("update", False): sdk.PropertyDiffKind.UPDATE,
    ("update", True): sdk.PropertyDiffKind.UPDATE_REPLACE,
}


class Unfinished(Exception):
    """A PartialFailure on its way to the engine: the id and the properties that it keeps."""

    def __init__(self, reason: str, *, rid: str, properties: Properties) -> None:
        super().__init__(reason)
        self.rid = rid
        self.properties = properties


class IsthmusProvider(sdk.Provider):
    """Knows nothing about any resource; the handlers do.

    :param handlers: one for each resource type.
    :param create_first: tokens of resources whose replacement may exist beside the old one. All others carry a name or
        an address that exists once, so the old one goes first.
    """

    def __init__(
        self, handlers: Iterable[Handler], *, engine: Engine | None = None, create_first: frozenset[str] = frozenset()
    ) -> None:
        self._handlers = {handler.token: handler for handler in handlers}
        self._engine = engine
        self._create_first = create_first
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="resource")
        self._cancelled = threading.Event()

    async def configure(self, request: sdk.ConfigureRequest) -> sdk.ConfigureResponse:  # noqa: ARG002
        """There is nothing to configure; the answer says what this provider understands."""
        return sdk.ConfigureResponse(accept_secrets=True, supports_preview=True)

    async def check_config(self, request: sdk.CheckRequest) -> sdk.CheckResponse:
        """The provider itself has no settings to refuse."""
        return sdk.CheckResponse(inputs=request.new_inputs)

    async def diff_config(self, request: sdk.DiffRequest) -> sdk.DiffResponse:  # noqa: ARG002
        """The provider itself has no settings to change."""
        return sdk.DiffResponse(changes=False)

    async def cancel(self) -> None:
        """Ctrl-C: tell every handler that is at work."""
        self._cancelled.set()

    async def check(self, request: sdk.CheckRequest) -> sdk.CheckResponse:
        """Refuse bad inputs; mark the secret ones."""
        handler = self._handler(request.type)
        failures = await self._run(handler.check, plain_map(request.new_inputs))
        inputs = {
            key: value.with_secret(True) if key in handler.secrets else value
            for key, value in request.new_inputs.items()
        }
        return sdk.CheckResponse(
            inputs=inputs, failures=[sdk.CheckFailure(property=key, reason=why) for key, why in failures.items()]
        )

    async def diff(self, request: sdk.DiffRequest) -> sdk.DiffResponse:
        """What differs, property by property; details go to the log, as the protocol has no place for them."""
        handler = self._handler(request.type)
        ctx = self._context(request.urn, preview=True)
        olds, news = plain_map(request.old_state), plain_map(request.new_inputs)
        changes = await self._run(handler.diff, ctx, request.resource_id, olds, news)
        for change in changes:
            if change.detail:
                ctx.log.info(f"{change.path}: {change.detail}")
        return sdk.DiffResponse(
            changes=bool(changes),
            replaces=sorted({_key(change) for change in changes if change.replace}),
            diffs=sorted({_key(change) for change in changes}),
            delete_before_replace=own_type(request.type) not in self._create_first,
            detailed_diff={
                change.path: sdk.PropertyDiff(
                    KINDS[change.kind, change.replace], input_diff=_key(change) in request.new_inputs
                )
                for change in changes
            },
        )

    async def create(self, request: sdk.CreateRequest) -> sdk.CreateResponse:
        """Make the resource, or in a preview say which outputs it would have."""
        handler = self._handler(request.type)
        if request.preview:
            unknown = {key: wire(UNKNOWN, secret=key in handler.secrets) for key in handler.outputs}
            return sdk.CreateResponse(properties={**unknown, **request.properties})
        ctx = self._context(request.urn)
        try:
            rid, state = await self._run(handler.create, ctx, plain_map(request.properties))
        except PartialFailure as failure:
            raise self._unfinished(handler, failure, failure.rid, request.properties) from failure
        return sdk.CreateResponse(rid, wire_map(state, secrets=handler.secrets, known=request.properties))

    async def read(self, request: sdk.ReadRequest) -> sdk.ReadResponse:
        """The resource as it is; an answer without id says that it is gone."""
        handler = self._handler(request.type)
        ctx = self._context(request.urn)
        state = await self._run(handler.read, ctx, request.resource_id, plain_map(request.properties))
        if state is None:
            return sdk.ReadResponse()
        known = {**request.properties, **request.inputs}
        properties = wire_map(state, secrets=handler.secrets, known=known)
        inputs = request.inputs or {key: value for key, value in properties.items() if key not in handler.outputs}
        return sdk.ReadResponse(request.resource_id, properties, inputs)

    async def update(self, request: sdk.UpdateRequest) -> sdk.UpdateResponse:
        """Bring the resource to its new inputs; in a preview the outputs are taken to stay as they are."""
        handler = self._handler(request.type)
        if request.preview:
            kept = {key: request.olds.get(key, wire(UNKNOWN, secret=key in handler.secrets)) for key in handler.outputs}
            return sdk.UpdateResponse({**kept, **request.news})
        ctx = self._context(request.urn)
        olds, news = plain_map(request.olds), plain_map(request.news)
        try:
            state = await self._run(handler.update, ctx, request.resource_id, olds, news)
        except PartialFailure as failure:
            raise self._unfinished(handler, failure, request.resource_id, request.news) from failure
        return sdk.UpdateResponse(wire_map(state, secrets=handler.secrets, known=request.news))

    async def delete(self, request: sdk.DeleteRequest) -> None:
        """Remove the resource."""
        handler = self._handler(request.type)
        ctx = self._context(request.urn)
        await self._run(handler.delete, ctx, request.resource_id, plain_map(request.properties))

    def _handler(self, kind: str) -> Handler:
        token = own_type(kind)
        try:
            return self._handlers[token]
        except KeyError:
            known = ", ".join(sorted(self._handlers))
            raise ResourceError(f"the provider isthmus has no resource type {token}; it has {known}") from None

    def _context(self, urn: str, *, preview: bool = False) -> Context:
        return Context(urn=urn, preview=preview, log=EngineLog(urn=urn, engine=self._engine), cancelled=self._cancelled)

    async def _run(self, call: Callable[..., Answer], *args: Any) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    @staticmethod
    def _unfinished(handler: Handler, failure: PartialFailure, rid: str, known: Properties) -> Unfinished:
        properties = wire_map(failure.state, secrets=handler.secrets, known=known)
        return Unfinished(str(failure), rid=rid, properties=properties)


def _key(change: Change) -> str:
    """The top-level property of a path such as `disks["/var/lib/etcd"]` or `nodes[0].name`."""
    return change.path.split("[", 1)[0].split(".", 1)[0]


def own_type(kind: str) -> str:
    """A resource's own type; in a component the engine puts its parents' types in front of it."""
    return kind.rpartition("$")[2]
