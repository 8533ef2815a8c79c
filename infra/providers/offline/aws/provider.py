"""The engine's calls: decoded, answered by the modules beside this one, encoded.

Without an endpoint it previews, and makes nothing: so a change of the cloud half can be read where neither AWS nor its
plugin can be reached. With the endpoint of a lab it makes what it is asked to, there.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import random
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.isthmus.log import Engine, EngineLog
from infra.providers.offline import differences, failing
from infra.providers.offline.aws.errors import Refused
from infra.providers.offline.aws.kind import Kind, Properties
from infra.providers.offline.aws.kinds import KINDS
from infra.providers.offline.aws.settings import Settings, settings
from infra.providers.offline.aws.things import Things, Unfinished
from infra.providers.offline.values import decode, dotted, encode

ANNOUNCEMENT = (
    "stand-in for the aws plugin: the official one cannot be had here. It knows the types that this project uses, "
    "makes them in a lab only, and refuses others by name"
)


def answered(method: Callable[..., Any]) -> Callable[..., Any]:
    """A gRPC method whose refusals reach the engine as their message alone."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except Refused as error:
            message = str(error)
        except Exception as error:
            if context.code() is not None:  # type: ignore[attr-defined]  # the stubs lack it
                raise  # The method itself ended the call; this is how gRPC leaves it.
            traceback.print_exc(file=sys.stderr)
            message = f"{method.__name__}: {type(error).__name__}: {error} (a bug in the stand-in for the aws plugin)"
        return context.abort(grpc.StatusCode.UNKNOWN, message)

    return call


class AwsProvider(provider_pb2_grpc.ResourceProviderServicer):
    """One provider resource of a program. The engine calls it from many threads."""

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine
        self._things = self._at(Settings())

    def _at(self, found: Settings) -> Things:
        return Things(found, EngineLog(engine=self._engine).info)

    @answered
    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """What this plugin understands."""
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    @answered
    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """The version of the SDK that the program uses."""
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi-aws"))

    @answered
    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """A lab's API answers at once: there is nothing to interrupt."""
        return empty_pb2.Empty()

    @answered
    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """The official plugin's settings are taken as they are; those of its own credentials have no effect."""
        return provider_pb2.CheckResponse(inputs=request.news)

    @answered
    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Another region is another place, where nothing of the old one is."""
        before = request.old_inputs if request.HasField("old_inputs") else request.olds
        olds, news = decode(before).values, decode(request.news).values
        changed = [key for key in sorted(olds.keys() | news.keys()) if olds.get(key) != news.get(key)]
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=[key for key in changed if key == "region"],
        )

    @answered
    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Take the settings; no request is made before one is needed."""
        self._things = self._at(settings(decode(request.args).values))
        EngineLog(engine=self._engine).info(ANNOUNCEMENT)
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    @answered
    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """There are no functions here: the program asks nobody."""
        raise Refused(f"the stand-in for the aws plugin has no function {request.tok}")

    @answered
    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Refuse types that are not known, and give names."""
        try:
            kind = _kind(request.urn)
        except Refused as error:
            return provider_pb2.CheckResponse(failures=[provider_pb2.CheckFailure(reason=str(error))])
        news, olds = decode(request.news), decode(request.olds).values
        values = news.values
        if kind.name and values.get(kind.name) is None:
            digits = f"{random.Random(request.randomSeed).getrandbits(28):07x}"
            values = {**values, kind.name: olds.get(kind.name) or f"{_name(request.urn)}-{digits}"}
        return provider_pb2.CheckResponse(inputs=encode(values, news.secrets))

    @answered
    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Compare inputs, and the tags that a refresh saw; AWS is not asked."""
        kind = _kind(request.urn)
        olds, news, state = (decode(part).values for part in (request.old_inputs, request.news, request.olds))
        found = [
            (path, how, _replaces(kind, path))
            for path, how in differences.walk(_canonical(kind, olds), _canonical(kind, news))
        ]
        if not found and "tagsAll" in state and kind.tags and state["tagsAll"] != self._things.tags(news):
            found = [(("tagsAll",), "update", False)]
        replaces = [dotted(path) for path, _, replace in found if replace]
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=replaces,
            diffs=sorted({str(path[0]) for path, _, _ in found}),
            deleteBeforeReplace=bool(replaces and kind.name and _keeps_its_name(request.urn, kind.name, olds, news)),
            detailedDiff={
                dotted(path): provider_pb2.PropertyDiff(kind=differences.KINDS[how, replace], inputDiff=True)
                for path, how, replace in found
            },
            hasDetailedDiff=True,
        )

    @answered
    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Make it; in a preview its inputs, and the engine takes what AWS would add for unknown."""
        kind, inputs = _kind(request.urn), decode(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        try:
            rid, outputs = self._things.create(kind, _name(request.urn), inputs.values)
        except Unfinished as error:
            outputs = _keep(kind, error.outputs, inputs.secrets)
            failing.unfinished(context, str(error), error.rid, outputs, request.properties, [str(error)])
        return provider_pb2.CreateResponse(id=rid, properties=_keep(kind, outputs, inputs.secrets))

    @answered
    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Change it in place."""
        kind, inputs, state = _kind(request.urn), decode(request.news), decode(request.olds)
        if request.preview:
            return provider_pb2.UpdateResponse(
                properties=_keep(kind, {**state.values, **inputs.values}, inputs.secrets)
            )
        try:
            outputs = self._things.update(kind, _name(request.urn), request.id, state.values, inputs.values)
        except Unfinished as error:
            kept = _keep(kind, error.outputs, inputs.secrets)
            failing.unfinished(context, str(error), error.rid, kept, request.news, [str(error)])
        return provider_pb2.UpdateResponse(properties=_keep(kind, outputs, inputs.secrets))

    @answered
    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Look at it; an answer without id says that it is gone."""
        kind, inputs, state = _kind(request.urn), decode(request.inputs), decode(request.properties).values
        seen = self._things.read(kind, _name(request.urn), request.id, state)
        if seen is None:
            return provider_pb2.ReadResponse()
        now = {key: _seen(kind, key, value, seen) for key, value in inputs.values.items()}
        return provider_pb2.ReadResponse(
            id=request.id,
            properties=_keep(kind, {**state, **seen, **_widened(now, seen)}, inputs.secrets),
            inputs=encode(now, inputs.secrets),
        )

    @answered
    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Take it away."""
        kind, state = _kind(request.urn), decode(request.properties).values
        self._things.delete(kind, _name(request.urn), request.id, state)
        return empty_pb2.Empty()


def _kind(urn: str) -> Kind:
    """The kind of a resource; a URN has its parents' types in front of its own."""
    token = urn.split("::")[2].rpartition("$")[2]
    if token not in KINDS:
        raise Refused(f"the stand-in for the aws plugin does not know {token}; the official plugin does")
    return KINDS[token]


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _keeps_its_name(urn: str, key: str, olds: Properties, news: Properties) -> bool:
    """Whether one that replaces it would have its name, of which AWS does not take two.

    In place of a name that was left out, the engine has another one made (Check).
    """
    name = news.get(key)
    made = re.fullmatch(f"{re.escape(_name(urn))}-[0-9a-f]{{7}}", str(name))
    return name == olds.get(key) and not made


def _keep(kind: Kind, values: Properties, secrets: Any) -> Any:
    return encode(values, frozenset(secrets) | {(key,) for key in kind.secrets})


def _replaces(kind: Kind, path: tuple[str | int, ...]) -> bool:
    names = [str(part) for part in path]
    return any(".".join(names[: count + 1]) in kind.replace for count in range(len(names)))


def _canonical(kind: Kind, values: Properties) -> Properties:
    """With documents as one text for one meaning."""
    return {key: _document(value) if key in kind.documents else value for key, value in values.items()}


def _document(text: Any) -> Any:
    return json.dumps(json.loads(text), sort_keys=True) if isinstance(text, str) and text is not UNKNOWN else text


def _seen(kind: Kind, key: str, value: Any, seen: Properties) -> Any:
    """An input as AWS has it now; as it was, where AWS says the same in other words or nothing."""
    if key not in seen or (key in kind.documents and _document(seen[key]) == _document(value)):
        return value
    return _overlaid(value, seen[key])


def _widened(now: Properties, seen: Properties) -> Properties:
    """The inputs of now, each with what AWS added to it."""
    return {
        key: {**seen[key], **value} if isinstance(value, dict) and isinstance(seen.get(key), dict) else value
        for key, value in now.items()
    }


def _overlaid(before: Any, now: Any) -> Any:
    """The keys that the program gave, with the values of now."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {key: _overlaid(value, now.get(key, value)) for key, value in before.items()}
    return now
