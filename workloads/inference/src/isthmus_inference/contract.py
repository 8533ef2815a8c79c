"""The shapes of what comes in: requests of the Open Inference Protocol v2, and the manifest that training wrote."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any

import msgspec

Size = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]  # no integer that is too long to be multiplied or printed


class Rejected(Exception):
    """A request that can't be answered; the message names the field and says why."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason, self.status = reason, status


class FlatTensor(msgspec.Struct, gc=False):
    """A tensor whose values come in one list, row after row. Integers are taken as floats."""

    name: str
    shape: list[Size]
    datatype: str
    data: list[float]


class NestedTensor(msgspec.Struct, gc=False):
    """A tensor whose values come as one list a sample."""

    name: str
    shape: list[Size]
    datatype: str
    data: list[list[float]]


class WantedOutput(msgspec.Struct, gc=False):
    name: str


class FlatRequest(msgspec.Struct, gc=False):
    inputs: list[FlatTensor]
    id: str | None = None
    outputs: list[WantedOutput] | None = None


class NestedRequest(msgspec.Struct, gc=False):
    inputs: list[NestedTensor]
    id: str | None = None
    outputs: list[WantedOutput] | None = None


class TensorSpec(msgspec.Struct, frozen=True):
    """A tensor as the manifest promises it; -1 in a shape is the number of samples."""

    name: str
    datatype: str
    shape: list[int]
    minimum: float | None = None
    maximum: float | None = None

    def metadata(self) -> dict[str, Any]:
        """As /v2/models/{name} shows it."""
        return {"name": self.name, "datatype": self.datatype, "shape": self.shape}


class File(msgspec.Struct, frozen=True):
    digest: str
    size: int


class Manifest(msgspec.Struct, frozen=True):
    """The part of the manifest that serving depends on."""

    format: int
    model: str
    version: str
    onnx: File
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]


class Alias(msgspec.Struct, frozen=True):
    version: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]  # it becomes part of a key
    manifest_digest: str


_nests = re.compile(r"got `array` - at `\$\.inputs\[\d+\]\.data\[\d+\]`$")
_flat = msgspec.json.Decoder(FlatRequest)
_nested = msgspec.json.Decoder(NestedRequest)


def read_request(body: bytes) -> FlatRequest | NestedRequest:
    """A request from its JSON; Rejected names the field that is wrong. The common form, flat data, is tried first."""
    try:
        try:
            return _flat.decode(body)
        except msgspec.ValidationError as fault:
            if not _nests.search(str(fault)):
                raise
            return _nested.decode(body)
    except msgspec.ValidationError as fault:
        raise Rejected(f"the request breaks the protocol: {fault}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        where = find_not_finite(body)
        raise Rejected(f"{where}: JSON has no NaN or infinity" if where else f"the body is not JSON: {fault}") from None


def find_not_finite(body: bytes) -> str:
    """The field that holds NaN or infinity, as Python's own JSON writes them; empty when none does."""
    try:
        for position, tensor in enumerate(json.loads(body)["inputs"]):
            for index, value in enumerate(tensor["data"]):
                for single in value if isinstance(value, list) else [value]:
                    if not math.isfinite(single):
                        return f"inputs[{position}].data[{index}]"
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        pass  # broken in another way, which the first error tells
    return ""
