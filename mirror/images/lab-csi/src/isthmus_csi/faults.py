"""How a request that is not done is answered: with the code that CSI's specification names for the reason."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import grpc

from isthmus_csi import btrfs

logger = logging.getLogger("isthmus.csi")


class Refusal(Exception):
    """Why a request is refused."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.NOT_FOUND, message)


def already_exists(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.ALREADY_EXISTS, message)


def out_of_range(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.OUT_OF_RANGE, message)


def exhausted(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


def aborted(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.ABORTED, message)


def required(request: Any, *fields: str) -> None:
    """Refuse a request that lacks one of the fields."""
    for field in fields:
        value = getattr(request, field)
        empty = not request.HasField(field) if hasattr(value, "DESCRIPTOR") else not value
        if empty:
            raise invalid(f"{field} is missing")


def answered(handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any, grpc.ServicerContext], Any]:
    """A method of a service from one that takes the request alone; whatever goes wrong is logged and answered."""

    @functools.wraps(handler)
    def answer(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return handler(self, request)
        except Refusal as refusal:
            logger.info("%s: %s: %s", handler.__name__, refusal.code.name, refusal)
            context.abort(refusal.code, str(refusal))
        except (btrfs.Failed, OSError) as error:
            logger.error("%s: %s", handler.__name__, error)
            context.abort(grpc.StatusCode.INTERNAL, str(error))

    return answer
