"""How a failing call of the engine ends: in words for what a person can mend, with a traceback for a bug."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from typing import Any

import grpc

from infra.providers.offline.kubernetes.config import ConfigError
from infra.providers.offline.kubernetes.errors import ApiError, Cancelled, Unreachable
from infra.providers.offline.kubernetes.kinds import UnknownKind


def answered(method: Callable[..., Any]) -> Callable[..., Any]:
    """A gRPC method whose known errors reach the engine as their message alone."""

    @functools.wraps(method)
    def call(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except (ApiError, Cancelled, ConfigError, UnknownKind, Unreachable) as error:
            message = str(error)
        except Exception as error:
            if context.code() is not None:  # type: ignore[attr-defined]  # the stubs lack it
                raise  # The method itself ended the call; this is how gRPC leaves it.
            traceback.print_exc(file=sys.stderr)
            message = (
                f"{method.__name__}: {type(error).__name__}: {error} (a bug in the stand-in for the kubernetes plugin)"
            )
        return context.abort(grpc.StatusCode.UNKNOWN, message)

    return call
