"""The engine's property values as plain Python values, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pulumi.provider.experimental.property_value import Computed, PropertyValue
from pulumi.runtime import rpc

from infra.providers.isthmus.handler import UNKNOWN

Properties = dict[str, PropertyValue]


def plain(value: PropertyValue) -> Any:
    """Without secrecy and dependencies. Whole numbers become ints: the wire knows floats only."""
    inner = value.value
    # The SDK leaves the engine's mark for an unknown value as the string that it is on the wire.
    if isinstance(inner, Computed) or inner == rpc.UNKNOWN:
        return UNKNOWN
    if isinstance(inner, Mapping):
        return {key: plain(item) for key, item in inner.items()}
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return [plain(item) for item in inner]
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if inner is None or isinstance(inner, bool | float | str):
        return inner
    raise TypeError(f"a {type(inner).__name__} is no value that this provider's resources take")


def plain_map(values: Properties) -> dict[str, Any]:
    """All of a resource's properties."""
    return {key: plain(value) for key, value in values.items()}


def wire(value: Any, *, secret: bool = False) -> PropertyValue:
    """A plain value as the engine wants it."""
    if value is UNKNOWN:
        return PropertyValue(rpc.UNKNOWN, is_secret=secret)
    if isinstance(value, Mapping):
        return PropertyValue({str(key): wire(item) for key, item in value.items()}, is_secret=secret)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return PropertyValue([wire(item) for item in value], is_secret=secret)
    if isinstance(value, int) and not isinstance(value, bool):
        return PropertyValue(float(value), is_secret=secret)
    return PropertyValue(value, is_secret=secret)


def wire_map(values: dict[str, Any], *, secrets: frozenset[str], known: Properties) -> Properties:
    """A handler's answer. Secret are the keys named in `secrets` and what was secret in `known`, the engine's values.

    A value equal to the known one is handed back as it came, so that a secret deep inside stays exactly that.
    """
    answer = {}
    for key, value in values.items():
        before = known.get(key)
        if before is not None and key not in secrets and plain(before) == value:
            answer[key] = before
        else:
            answer[key] = wire(value, secret=key in secrets or (before is not None and before.contains_secret()))
    return answer
