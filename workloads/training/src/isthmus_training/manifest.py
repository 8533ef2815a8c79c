"""The manifest: what a model is, what it was made from and how good it is, in bytes that depend on nothing else.

No time, host or run is in it. The version is a digest of the manifest, which holds the digest of the ONNX file: the
same inputs give the same version, and a version can't come to mean something else.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from isthmus_training.acquire import CLASSES, HIGH, LOW, PIXELS, Dataset
from isthmus_training.train import INPUT, OUTPUTS

FORMAT = 1
LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "scipy", "skl2onnx")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model ready to be published: both files, and the version that names them."""

    version: str
    onnx: bytes
    manifest: bytes

    @property
    def manifest_digest(self) -> str:
        return digest(self.manifest)


def digest(content: bytes) -> str:
    """`sha256:<hex>` of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def code_digest() -> str:
    """Names the code that trains: every module of this package, by name and content."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f"sha256:{code.hexdigest()}"


def canonical(value: dict[str, Any]) -> bytes:
    """The one way to write a value as JSON, so that equal values have equal digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def describe(*, name: str, onnx: bytes, data: Dataset, seed: int, metrics: dict[str, Any]) -> Model:
    """The model with its manifest and version."""
    core = {
        "format": FORMAT,
        "model": name,
        "onnx": {"digest": digest(onnx), "size": len(onnx)},
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, PIXELS], "minimum": LOW, "maximum": HIGH}],
        "outputs": [
            {"name": OUTPUTS[0], "datatype": "INT64", "shape": [-1]},
            {"name": OUTPUTS[1], "datatype": "FP32", "shape": [-1, CLASSES]},
        ],
        "metrics": metrics,
        "created_from": {
            "code": code_digest(),
            "data": {"source": data.source, "digest": data.digest, "samples": len(data.labels)},
            "libraries": {library: installed(library) for library in LIBRARIES},
            "python": platform.python_version(),
            "seed": seed,
        },
    }
    version = hashlib.sha256(canonical(core)).hexdigest()[:16]
    return Model(version=version, onnx=onnx, manifest=canonical({**core, "version": version}))
