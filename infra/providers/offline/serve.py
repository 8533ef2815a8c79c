"""A stand-in's process: the gRPC server, from the engine's start to its end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from infra.providers.isthmus.log import Engine, connect

THREADS = 64
"""More than the engine's usual --parallel: a wait holds a thread."""
MESSAGE_LIMIT_BYTES = 400 * 1024 * 1024


def serve(arguments: list[str], provider: Callable[[Engine], provider_pb2_grpc.ResourceProviderServicer]) -> None:
    """Serve on a free port of loopback and tell the engine which by printing it; end with the engine."""
    # The engine's own flags, such as --logtostderr, may stand before its address.
    engine = next(argument for argument in arguments if not argument.startswith("-"))
    # The engine starts plugins in process groups of their own, so this is its goodbye and no Ctrl-C of the user's (for
    # that it calls Cancel). It waits for seconds for a plugin that does not go.
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    parent = os.getppid()
    server = grpc.server(
        ThreadPoolExecutor(max_workers=THREADS),
        options=[("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES), ("grpc.max_send_message_length", -1)],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider(connect(engine)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while os.getppid() == parent:
        time.sleep(1)
    # The engine was killed. Nobody will hear the answers, and waits would go on for minutes.
    os._exit(1)
