"""A model in memory: verified before it is used, and quick to ask."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from isthmus_inference.contract import (
    FlatRequest,
    FlatTensor,
    Manifest,
    NestedRequest,
    NestedTensor,
    Rejected,
    TensorSpec,
)

FORMAT = 1
ONNX_TYPES = {"FP32": "tensor(float)", "INT64": "tensor(int64)"}


class Refused(Exception):
    """A model whose content breaks what its alias or manifest promises."""


def digest(content: bytes) -> str:
    """`sha256:<hex>` of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read_manifest(content: bytes, *, name: str, version: str, promised: str) -> Manifest:
    """The manifest, if it is the one that the alias promised and says what can be served here."""
    if digest(content) != promised:
        raise Refused(f"manifest.json has digest {digest(content)}, the alias promises {promised}")
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as fault:
        raise Refused(f"manifest.json can't be read: {fault}") from None
    if manifest.format != FORMAT:
        raise Refused(f"manifest.json has format {manifest.format}, this server reads {FORMAT}")
    if (manifest.model, manifest.version) != (name, version):
        raise Refused(f"manifest.json is of {manifest.model} {manifest.version}, not of {name} {version}")
    if any(spec.datatype != "FP32" for spec in manifest.inputs) or not manifest.inputs:
        raise Refused("manifest.json asks for inputs that are not FP32, which is all that this server takes")
    return manifest


class Model:
    """One version of a model."""

    def __init__(self, manifest: Manifest, manifest_digest: str, onnx: bytes) -> None:
        """Loads the model and tries it once; Refused when content, schema and manifest don't agree."""
        self.manifest, self.manifest_digest, self.digest = manifest, manifest_digest, digest(onnx)
        if self.digest != manifest.onnx.digest:
            raise Refused(f"model.onnx has digest {self.digest}, its manifest promises {manifest.onnx.digest}")
        options = onnxruntime.SessionOptions()
        # One request uses one core: no hand-over between threads, and a pod's CPU limit is what it says.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self.session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        except Exception as fault:  # onnxruntime's own exceptions share no base but Exception
            raise Refused(f"onnxruntime can't load model.onnx: {fault}") from None
        check_schema("input", manifest.inputs, self.session.get_inputs())
        check_schema("output", manifest.outputs, self.session.get_outputs())
        self.inputs = {spec.name: (index, spec) for index, spec in enumerate(manifest.inputs)}
        self.outputs = {spec.name: spec for spec in manifest.outputs}
        try:
            sample = {s.name: np.zeros([abs(d) for d in s.shape], np.float32) for s in manifest.inputs}
            self.session.run(list(self.outputs), sample)
        except Exception as fault:
            raise Refused(f"model.onnx fails on a blank sample: {fault}") from None
        self.identity = {"model_name": manifest.model, "model_version": manifest.version}
        self.parameters = {"digest": self.digest}

    @property
    def version(self) -> str:
        return self.manifest.version

    def metadata(self) -> dict[str, Any]:
        """As the protocol's model metadata; `parameters` is this server's addition."""
        return {
            "name": self.manifest.model,
            "versions": [self.version],
            "platform": "onnxruntime_onnx",
            "inputs": [spec.metadata() for spec in self.manifest.inputs],
            "outputs": [spec.metadata() for spec in self.manifest.outputs],
            "parameters": self.parameters,
        }

    def infer(self, request: FlatRequest | NestedRequest) -> tuple[dict[str, Any], int]:
        """The answer, and how many samples it is for; Rejected when the request does not fit the model."""
        feed: dict[str, NDArray[np.float32]] = {}
        for position, tensor in enumerate(request.inputs):
            known = self.inputs.get(tensor.name)
            if known is None:
                raise Rejected(
                    f"inputs[{position}].name: the model has no input {tensor.name[:80]!r}, but {list(self.inputs)}"
                )
            if tensor.name in feed:
                raise Rejected(f"inputs[{position}].name: {tensor.name!r} is given twice")
            feed[tensor.name] = to_array(tensor, known[1], f"inputs[{position}]")
        if len(feed) != len(self.inputs):
            raise Rejected(f"inputs: {sorted(self.inputs.keys() - feed.keys())} is missing")
        names = list(self.outputs)
        if request.outputs:
            names = [output.name for output in request.outputs]
            for position, name in enumerate(names):
                if name not in self.outputs:
                    raise Rejected(
                        f"outputs[{position}].name: the model has no output {name[:80]!r}, but {list(self.outputs)}"
                    )
        results = self.session.run(names, feed)
        answer: dict[str, Any] = {**self.identity, "parameters": self.parameters}
        if request.id is not None:
            answer["id"] = request.id
        answer["outputs"] = [
            {
                "name": name,
                "datatype": self.outputs[name].datatype,
                "shape": list(result.shape),
                "data": result.ravel().tolist(),
            }
            for name, result in zip(names, results, strict=True)
        ]
        return answer, len(results[0])


def check_schema(kind: str, promised: list[TensorSpec], found: list[Any]) -> None:
    """Refused when the ONNX file's tensors are not the manifest's: names, types and fixed sizes."""
    actual = {tensor.name: tensor for tensor in found}
    if {spec.name for spec in promised} != actual.keys():
        raise Refused(f"the manifest promises {kind}s {[s.name for s in promised]}, model.onnx has {list(actual)}")
    for spec in promised:
        tensor = actual[spec.name]
        if ONNX_TYPES.get(spec.datatype) != tensor.type:
            raise Refused(f"{kind} {spec.name}: the manifest promises {spec.datatype}, model.onnx has {tensor.type}")
        sizes = [size if isinstance(size, int) else -1 for size in tensor.shape]
        fits = len(sizes) == len(spec.shape) and all(a in (b, -1) for a, b in zip(sizes, spec.shape, strict=True))
        if not fits:
            raise Refused(
                f"{kind} {spec.name}: the manifest promises shape {spec.shape}, model.onnx has {tensor.shape}"
            )


def to_array(tensor: FlatTensor | NestedTensor, spec: TensorSpec, where: str) -> NDArray[np.float32]:
    """The tensor's values; Rejected says which field does not fit, and why."""
    if tensor.datatype != spec.datatype:
        raise Rejected(f"{where}.datatype: {tensor.datatype[:40]!r}; {spec.name} is {spec.datatype}")
    shape = tensor.shape
    fits = len(shape) == len(spec.shape) and all(
        a == b or (b == -1 and a > 0) for a, b in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        raise Rejected(
            f"{where}.shape: {shape[:8]}; {spec.name} is {spec.shape}, where -1 is the number of samples, at least 1"
        )
    count, data = math.prod(shape), tensor.data
    if isinstance(tensor, NestedTensor):
        data = [value for row in tensor.data for value in row]
    if len(data) != count:
        raise Rejected(f"{where}.data: {len(data)} values; shape {shape} has {count}")
    with np.errstate(over="ignore"):  # beyond 32 bits becomes infinity, which is refused below
        values = np.array(data, dtype=np.float32)
    low, high = values.min(), values.max()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise Rejected(f"{where}.data[{int(np.argmin(np.isfinite(values)))}]: not a finite 32-bit number")
    if (spec.minimum is not None and low < spec.minimum) or (spec.maximum is not None and high > spec.maximum):
        index = int(values.argmin() if spec.minimum is not None and low < spec.minimum else values.argmax())
        raise Rejected(f"{where}.data[{index}]: {values[index]:g}; {spec.name} is {spec.minimum:g} to {spec.maximum:g}")
    return values.reshape(shape)
