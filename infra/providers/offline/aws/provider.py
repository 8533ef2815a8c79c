"""The engine's calls, as far as a preview goes: nothing is made, and nobody is asked.

So a change of the cloud half can be read where neither AWS nor its plugin can be reached. Making something is refused.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable
from typing import Any, NoReturn

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from infra.providers.isthmus.log import Engine, EngineLog
from infra.providers.offline.aws import tokens
from infra.providers.offline.values import decode, encode

ANNOUNCEMENT = (
    "stand-in for the aws plugin: the official one cannot be had here. It previews the types that this project uses, "
    "makes nothing, and refuses others by name"
)

PREVIEWS_ONLY = "the stand-in for the aws plugin previews only; run this where get.pulumi.com is reached"


def answered(method: Callable[..., Any]) -> Callable[..., Any]:
    """A gRPC method whose refusals reach the engine as their message alone."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except tokens.UnknownType as error:
            return context.abort(grpc.StatusCode.UNKNOWN, str(error))

    return call


class AwsProvider(provider_pb2_grpc.ResourceProviderServicer):
    """One provider resource of a program. The engine calls it from many threads."""

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """What this plugin understands."""
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """The version of the SDK that the program uses."""
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi-aws"))

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Nothing here takes long."""
        return empty_pb2.Empty()

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Any settings will do: nobody is called with them."""
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """There is nothing that a change of the settings could concern."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Say what this is."""
        EngineLog(engine=self._engine).info(ANNOUNCEMENT)
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    @answered
    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Functions ask AWS."""
        raise tokens.UnknownType(f"the stand-in for the aws plugin has no function {request.tok}")

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Refuse types that are not known, and give names."""
        token, name = request.urn.split("::")[2].rpartition("$")[2], request.urn.rpartition("::")[2]
        news, olds = decode(request.news), decode(request.olds).values
        try:
            values = tokens.named(token, name, news.values, olds, request.randomSeed)
        except tokens.UnknownType as error:
            return provider_pb2.CheckResponse(failures=[provider_pb2.CheckFailure(reason=str(error))])
        return provider_pb2.CheckResponse(inputs=encode(values, news.secrets))

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        """What would be made: its inputs; the engine takes what AWS would add for unknown."""
        if not request.preview:
            _refuse(context)
        return provider_pb2.CreateResponse(properties=request.properties)

    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002
        """Nothing was ever made here."""
        _refuse(context)

    Update = Read = Delete = Diff


def _refuse(context: grpc.ServicerContext) -> NoReturn:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, PREVIEWS_ONLY)
    raise AssertionError("abort raises")
