"""Messages of a running resource to the engine, which shows them beside that resource's URN."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Protocol

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc


class Engine(Protocol):
    """The one call of the engine's gRPC service that is used here."""

    def Log(self, request: engine_pb2.LogRequest, timeout: float | None = None) -> object:
        """Hand one message over."""


def connect(address: str) -> Engine:
    """The engine at the address that it gave the plugin as its first argument, host:port."""
    return engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))


@dataclass(frozen=True, kw_only=True)
class EngineLog:
    """A resource's log. Without an engine (tests, commands) the messages go to stderr."""

    urn: str = ""
    engine: Engine | None = None

    def status(self, message: str) -> None:
        """What is being done just now: shown while it lasts, not kept."""
        self._send(engine_pb2.INFO, message, ephemeral=True)

    def info(self, message: str) -> None:
        """A line worth keeping."""
        self._send(engine_pb2.INFO, message)

    def warning(self, message: str) -> None:
        """Something that a person should look at, though the work goes on."""
        self._send(engine_pb2.WARNING, message)

    def error(self, message: str) -> None:
        """What went wrong. The engine counts it: a command with an error message ends as failed."""
        self._send(engine_pb2.ERROR, message)

    def _send(self, severity: engine_pb2.LogSeverity.ValueType, message: str, *, ephemeral: bool = False) -> None:
        if self.engine is None:
            sys.stderr.write(f"{message}\n")
            return
        request = engine_pb2.LogRequest(severity=severity, message=message, urn=self.urn, ephemeral=ephemeral)
        try:
            self.engine.Log(request, timeout=5)
        except grpc.RpcError:
            # A lost message must never break the work that it tells about; stderr reaches the engine's debug log.
            sys.stderr.write(f"{message}\n")
