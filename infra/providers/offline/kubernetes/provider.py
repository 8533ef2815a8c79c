"""The engine's calls: decoded, answered by the modules beside this one, encoded.

Plain gRPC and not `pulumi.provider.experimental`: that has no failed initialisation, no old inputs and no way to keep a
secret that lies deep inside an object, and starting it takes longer.
"""

from __future__ import annotations

import threading
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.isthmus.log import Engine, EngineLog
from infra.providers.offline import differences, failing
from infra.providers.offline.kubernetes import config, diffing, kinds, naming, shape
from infra.providers.offline.kubernetes.answers import answered
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.kubernetes.errors import Unreachable
from infra.providers.offline.kubernetes.objects import Call, Objects, Result
from infra.providers.offline.values import Properties, decode, dotted, encode

VERSION = "4.34.2"
"""Of the official plugin whose SDK the program uses."""

ANNOUNCEMENT = (
    "stand-in for the kubernetes plugin: the official one cannot be had here. It knows the kinds that this project "
    "uses and refuses others by name"
)


class KubernetesProvider(provider_pb2_grpc.ResourceProviderServicer):
    """One provider resource of a program. The engine calls it from many threads."""

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine
        self._cancelled = threading.Event()
        self._settings = config.Settings()
        self._objects: Objects | None = None

    @answered
    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """What this plugin understands."""
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    @answered
    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """The version that the SDK asks for."""
        return plugin_pb2.PluginInfo(version=VERSION)

    @answered
    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """The user interrupts: every wait ends, and what is made so far is kept."""
        self._cancelled.set()
        return empty_pb2.Empty()

    @answered
    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Refuse settings that this stand-in does not have."""
        found = config.problems(decode(request.news).values)
        failures = [provider_pb2.CheckFailure(property=key, reason=reason) for key, reason in found.items()]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    @answered
    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Another cluster replaces the provider, and so all that it made; new credentials do not."""
        before = request.old_inputs if request.HasField("old_inputs") else request.olds
        olds, news = decode(before).values, decode(request.news).values
        changed = [key for key in sorted(olds.keys() | news.keys()) if olds.get(key) != news.get(key)]
        replaces = ["kubeconfig"] if config.cluster_moved(olds, news) else []
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=replaces,
        )

    @answered
    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Take the settings; no request is made before one is needed."""
        raw = decode(request.args).values
        if not raw:
            raw = {key.rpartition(":")[2]: value for key, value in request.variables.items()}
        self._settings = config.settings(raw)
        if self._settings.kubeconfig is not None:
            cluster = Cluster(self._settings.kubeconfig, cancelled=self._cancelled)
            self._objects = Objects(self._settings, cluster, self._cancelled)
        EngineLog(engine=self._engine).info(ANNOUNCEMENT)
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    @answered
    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """There are no functions here: the official ones render charts and manifests."""
        raise kinds.UnknownKind(f"the stand-in for the kubernetes plugin has no function {request.tok}")

    @answered
    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Refuse what is not known, and give name and namespace."""
        try:
            kind = kinds.of_token(_token(request.urn))
        except kinds.UnknownKind as error:
            return provider_pb2.CheckResponse(failures=[provider_pb2.CheckFailure(reason=str(error))])
        news, olds = decode(request.news), decode(request.olds).values
        failures = [provider_pb2.CheckFailure(property=key, reason=why) for key, why in _refusals(news.values).items()]
        values = naming.with_name(news.values, olds, request.urn.rpartition("::")[2], request.randomSeed)
        values = naming.with_namespace(kind, values, self._settings.namespace)
        inputs = encode(values, shape.secret_paths(kind, news.secrets))
        return provider_pb2.CheckResponse(inputs=inputs, failures=failures)

    @answered
    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Compare inputs; the cluster is not asked."""
        kind = kinds.of_token(_token(request.urn))
        olds, news, state = (decode(part).values for part in (request.old_inputs, request.news, request.olds))
        plan = diffing.plan(kind, olds, news, state, mutable=self._settings.mutable)
        found = plan.differences
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if found else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=[dotted(path) for path in plan.replaces],
            diffs=sorted({str(difference.path[0]) for difference in found}),
            deleteBeforeReplace=plan.delete_first,
            detailedDiff={
                dotted(difference.path): provider_pb2.PropertyDiff(
                    kind=differences.KINDS[difference.kind, difference.replace], inputDiff=True
                )
                for difference in found
            },
            hasDetailedDiff=True,
        )

    @answered
    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Make an object."""
        call, inputs = self._call(request.urn, request.timeout), decode(request.properties)
        if request.preview:
            promise = self._preview(call, inputs.values, {})
            return provider_pb2.CreateResponse(properties=_keep(call, promise, inputs))
        result = self._known().create(call, inputs.values)
        self._unfinished(context, call, result, inputs)
        return provider_pb2.CreateResponse(id=result.rid, properties=_keep(call, result.outputs, inputs))

    @answered
    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Change an object."""
        call = self._call(request.urn, request.timeout, tuple(request.ignoreChanges))
        inputs = decode(request.news)
        state = decode(request.olds).values
        if request.preview:
            promise = self._preview(call, inputs.values, state)
            return provider_pb2.UpdateResponse(properties=_keep(call, promise, inputs))
        result = self._known().update(call, inputs.values, state)
        self._unfinished(context, call, result, inputs)
        return provider_pb2.UpdateResponse(properties=_keep(call, result.outputs, inputs))

    @answered
    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Look at an object; an answer without id says that it is gone."""
        call, inputs = self._call(request.urn, request.timeout), decode(request.inputs)
        result = self._known().read(call, request.id, inputs.values, decode(request.properties).values)
        if result is None:
            return provider_pb2.ReadResponse()
        self._unfinished(context, call, result, inputs)
        return provider_pb2.ReadResponse(
            id=result.rid,
            properties=_keep(call, result.outputs, inputs),
            inputs=_keep(call, result.inputs, inputs),
        )

    @answered
    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Delete an object."""
        call = self._call(request.urn, request.timeout)
        self._known().delete(call, request.id, decode(request.properties).values)
        return empty_pb2.Empty()

    def _call(self, urn: str, seconds: float, ignored: tuple[str, ...] = ()) -> Call:
        log = EngineLog(urn=urn, engine=self._engine)
        return Call(urn=urn, kind=kinds.of_token(_token(urn)), log=log, seconds=seconds, ignored=ignored)

    def _known(self) -> Objects:
        if self._objects is None:
            raise Unreachable("the kubeconfig is not known yet, so there is no cluster to work on")
        return self._objects

    def _preview(self, call: Call, inputs: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        if self._objects is None:
            return shape.overlaid(state, inputs) if state else shape.promised(call.kind, inputs, inputs)
        return self._objects.preview(call, inputs, state)

    @staticmethod
    def _unfinished(context: grpc.ServicerContext, call: Call, result: Result, inputs: Properties) -> None:
        """Ends the call with the error that makes the engine keep the state, when the object is not ready."""
        if not result.reasons:
            return
        message = f"{call.kind} {result.rid} is not ready: {result.reasons[0]}"
        outputs, known = _keep(call, result.outputs, inputs), _keep(call, result.inputs, inputs)
        failing.unfinished(context, message, result.rid, outputs, known, result.reasons)


def _token(urn: str) -> str:
    """A resource's own type; a URN has its parents' types in front of it."""
    return urn.split("::")[2].rpartition("$")[2]


def _keep(call: Call, values: dict[str, Any], inputs: Properties) -> Any:
    return encode(values, shape.secret_paths(call.kind, inputs.secrets))


def _refusals(values: dict[str, Any]) -> dict[str, str]:
    metadata, found = naming.part(values, "metadata"), {}
    if metadata is not UNKNOWN and metadata.get("generateName") is not None:
        found["metadata.generateName"] = "server-side apply needs a name; leave both out to have one made"
    for key in naming.unknown_annotations(values):
        found[f'metadata.annotations["{key}"]'] = "the stand-in for the kubernetes plugin does not have this annotation"
    return found
