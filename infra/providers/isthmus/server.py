"""The provider's process: the gRPC server, and errors as people should read them."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Awaitable
from typing import Any

import grpc
from google.protobuf import any_pb2
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import Provider
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from infra.providers.isthmus.handler import ResourceError
from infra.providers.isthmus.provider import Unfinished

VERSION = "0.1.0"

# The engine's own limit: inventories and playbook outputs are far below it.
MESSAGE_LIMIT_BYTES = 400 * 1024 * 1024

GRACE_S = 6
"""How long what runs has to end after the engine's death: ansible ends its workers first."""


class Servicer(ProviderServicer):
    """The SDK turns every error into a text with a traceback; this one tells a person's error from a bug.

    An unfinished resource is reported the way the engine knows, so that it keeps the state and retries.
    """

    async def Check(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """See Provider.check."""
        return await _answer(super().Check(request, context), context)

    async def Diff(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """See Provider.diff."""
        return await _answer(super().Diff(request, context), context)

    async def Create(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """See Provider.create."""
        return await _answer(super().Create(request, context), context)

    async def Read(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """See Provider.read."""
        return await _answer(super().Read(request, context), context)

    async def Update(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """See Provider.update."""
        return await _answer(super().Update(request, context), context)

    async def Delete(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """See Provider.delete."""
        return await _answer(super().Delete(request, context), context)


async def _answer(call: Awaitable[Any], context: grpc.aio.ServicerContext) -> Any:
    try:
        return await call
    except Exception as wrapped:
        # The SDK raises its text while it handles the true error, which is therefore the context.
        error = wrapped.__context__ or wrapped
    if isinstance(error, Unfinished):
        context.set_trailing_metadata((("grpc-status-details-bin", _details(error)),))
    elif not isinstance(error, ResourceError):
        sys.stderr.write("".join(traceback.format_exception(error)))
    return await context.abort(grpc.StatusCode.UNKNOWN, str(error) or type(error).__name__)


def _details(error: Unfinished) -> bytes:
    failed = provider_pb2.ErrorResourceInitFailed(
        id=error.rid, properties=PropertyValue.marshal_map(error.properties), reasons=[str(error)]
    )
    detail = any_pb2.Any()
    detail.Pack(failed)
    return status_pb2.Status(
        code=grpc.StatusCode.UNKNOWN.value[0], message=str(error), details=[detail]
    ).SerializeToString()


async def end_with(parent: int, provider: Provider) -> None:
    """Ends this process when the engine was killed: nobody hears its answers, and ansible would go on by itself."""
    while os.getppid() == parent:
        await asyncio.sleep(1)
    await provider.cancel()
    await asyncio.sleep(GRACE_S)
    os._exit(1)


async def serve(provider: Provider, engine_address: str) -> None:
    """Serve on a free port of loopback, and tell the engine which by printing it."""
    limits = [("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES), ("grpc.max_send_message_length", -1)]
    server = grpc.aio.server(options=limits)
    servicer = Servicer([], VERSION, provider, engine_address=engine_address)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    watch = asyncio.create_task(end_with(os.getppid(), provider))
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()
    watch.cancel()


def main(engine_address: str) -> None:
    """The whole provider with all of its resources."""
    # Imported here: a test of the server needs neither podman nor ansible.
    from infra.providers.isthmus.aws_api import AwsApi
    from infra.providers.isthmus.certificate import Authority, Certificate
    from infra.providers.isthmus.image import Image
    from infra.providers.isthmus.log import connect
    from infra.providers.isthmus.machine import Machine
    from infra.providers.isthmus.network import Network
    from infra.providers.isthmus.playbook import Playbook
    from infra.providers.isthmus.provider import IsthmusProvider
    from infra.providers.isthmus.secret import RandomSecret

    provider = IsthmusProvider(
        [Network(), Machine(), AwsApi(), RandomSecret(), Authority(), Certificate(), Playbook(), Image()],
        engine=connect(engine_address),
        create_first=frozenset({RandomSecret.token, Authority.token, Certificate.token, Image.token}),
    )
    try:
        asyncio.run(serve(provider, engine_address))
    except KeyboardInterrupt:
        sys.exit(130)
