"""A call that made something and could not finish it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2


def unfinished(
    context: grpc.ServicerContext, message: str, rid: str, outputs: Any, inputs: Any, reasons: Iterable[str]
) -> NoReturn:
    """Ends the call with the error that makes the engine keep the state and try again in the next run."""
    failed = provider_pb2.ErrorResourceInitFailed(id=rid, properties=outputs, inputs=inputs, reasons=list(reasons))
    detail = any_pb2.Any()
    detail.Pack(failed)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, message)
    raise AssertionError("abort raises")
