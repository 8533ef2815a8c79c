"""Property values: from the engine's wire format to plain Python and back.

Plain values are what Kubernetes' JSON has: dict, list, str, int, float, bool, None; and UNKNOWN for a value that the
engine does not know yet. Which of them are secret is kept beside them, as paths from the root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

from infra.providers.isthmus.handler import UNKNOWN

Path = tuple[str | int, ...]

# The wire format of Pulumi's plugin protocol: an object with this key is a value of a special kind.
SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS: Final = frozenset(
    {
        UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)


@dataclass(frozen=True, kw_only=True)
class Properties:
    """Plain values, and the paths of those that are secret."""

    values: dict[str, Any]
    secrets: frozenset[Path] = frozenset()


def decode(struct: struct_pb2.Struct) -> Properties:
    """What the engine sent. Raises ValueError for values that no Kubernetes object can hold (assets, archives)."""
    secrets: set[Path] = set()
    values = {key: _decode(value, (key,), secrets) for key, value in struct.fields.items()}
    return Properties(values=values, secrets=frozenset(secrets))


def _decode(value: struct_pb2.Value, path: Path, secrets: set[Path]) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
    if kind == "number_value":
        # The wire has only doubles, but Kubernetes refuses 3.0 where it wants 3.
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_decode(item, (*path, at), secrets) for at, item in enumerate(value.list_value.values)]
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SIGNATURE in fields:
            return _special(fields, path, secrets)
        return {key: _decode(item, (*path, key), secrets) for key, item in fields.items()}
    return None


def _special(fields: Any, path: Path, secrets: set[Path]) -> Any:
    signature = fields[SIGNATURE].string_value
    if signature == SECRET:
        secrets.add(path)
        return _decode(fields["value"], path, secrets)
    if signature == OUTPUT:
        if "secret" in fields and fields["secret"].bool_value:
            secrets.add(path)
        return _decode(fields["value"], path, secrets) if "value" in fields else UNKNOWN
    raise ValueError(f"{dotted(path)} is an asset, an archive or a resource: Kubernetes objects hold plain values only")


def encode(values: dict[str, Any], secrets: Iterable[Path] = ()) -> struct_pb2.Struct:
    """For the engine. A path of `secrets` that `values` does not have is passed over."""
    marked = frozenset(secrets)
    return struct_pb2.Struct(fields={key: _encode(value, (key,), marked) for key, value in values.items()})


def _encode(value: Any, path: Path, secrets: frozenset[Path]) -> struct_pb2.Value:
    if path in secrets:
        inner = _encode(value, path, secrets - {path})
        fields = {SIGNATURE: struct_pb2.Value(string_value=SECRET), "value": inner}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields))
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=UNKNOWN_STRING)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, (int, float)):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, list):
        items = [_encode(item, (*path, at), secrets) for at, item in enumerate(value)]
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))
    if isinstance(value, dict):
        fields = {key: _encode(item, (*path, key), secrets) for key, item in value.items()}
        return struct_pb2.Value(struct_value=struct_pb2.Struct(fields=fields))
    raise TypeError(f"{dotted(path)} is a {type(value).__name__}, which the engine's protocol cannot carry")


def dotted(path: Path) -> str:
    """A path as Pulumi writes it: spec.containers[0].env, metadata.labels["app.kubernetes.io/name"]."""
    return "".join(_segments(path)).removeprefix(".")


def _segments(path: Path) -> Iterator[str]:
    for part in path:
        if isinstance(part, int):
            yield f"[{part}]"
        elif part.replace("_", "").replace("-", "").isalnum():
            yield f".{part}"
        else:
            yield f'["{part}"]'


def at(values: Any, *path: str | int) -> Any:
    """The value at a path, or None where it ends early or meets UNKNOWN."""
    for part in path:
        if isinstance(values, dict):
            values = values.get(str(part))
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            return None
    return values
