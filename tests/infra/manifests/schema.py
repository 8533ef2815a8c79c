"""Holds an object to the schema of its kind, more strictly than an API server: an unknown field is a fault.

Kubernetes' own kinds are in kubernetes.json (vendor.py says from where); of a custom resource the program has to have
registered the definition.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Final

from jsonschema import Draft202012Validator

from infra.platform.chart import Manifest
from tests.infra.manifests.vendor import KUBERNETES

QUANTITY: Final = r"^[+-]?(\d+|\d+\.\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$"
"""As the description of Quantity has it; its schema says no more than that it is a string."""

OTHERWISE: Final[dict[str, dict[str, Any]]] = {
    "int-or-string": {"type": ["integer", "string"]},
    "int32": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "byte": {"type": "string", "pattern": r"^[A-Za-z0-9+/]*={0,2}$"},
}
"""What OpenAPI says by a format, which JSON Schema does not look at."""


METADATA: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


class UnknownKind(Exception):
    """There is no schema of the kind; the message says of which."""


def faults(manifest: Manifest, definitions: Iterable[Manifest] = ()) -> list[str]:
    """What is wrong with an object, a line each. `definitions` are the CustomResourceDefinitions of its cluster."""
    validator = _own(manifest["apiVersion"], manifest["kind"]) or _custom(manifest, definitions)
    return [f"{fault.json_path}: {fault.message[:300]}" for fault in validator.iter_errors(manifest)]


@functools.cache
def _vendored() -> dict[str, Any]:
    return KUBERNETES.content()


@functools.cache
def _definitions() -> dict[str, Any]:
    strict = {name: _strict(schema) for name, schema in _vendored()["definitions"].items()}
    strict["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"], "pattern": QUANTITY}
    return strict


@functools.cache
def _own(version: str, kind: str) -> Draft202012Validator | None:
    """Of a kind of Kubernetes' own. That an object says what it is and has a name, the schema leaves open."""
    name = _vendored()["kinds"].get(f"{version}/{kind}")
    return _validator({"$ref": f"#/definitions/{name}"}) if name else None


def _custom(manifest: Manifest, definitions: Iterable[Manifest]) -> Draft202012Validator:
    group, _, version = manifest["apiVersion"].rpartition("/")
    for one in definitions:
        spec = one["spec"]
        if (spec["group"], spec["names"]["kind"]) == (group, manifest["kind"]):
            for served in spec.get("versions", []):
                if served["name"] == version and served["served"]:
                    schema = _strict(served["schema"]["openAPIV3Schema"])
                    # It says of metadata only that it is an object.
                    schema["properties"] |= {"metadata": {"$ref": f"#/definitions/{METADATA}"}}
                    return _validator(schema)
    raise UnknownKind(f"{manifest['apiVersion']}/{manifest['kind']}")


def _validator(schema: dict[str, Any]) -> Draft202012Validator:
    named = {"required": ["apiVersion", "kind", "metadata"], "properties": {"metadata": {"required": ["name"]}}}
    return Draft202012Validator({"allOf": [schema, named], "definitions": _definitions()})


def _strict(schema: Any) -> Any:
    """A schema of OpenAPI as one of JSON Schema. An object has the fields that are listed, and no others."""
    if isinstance(schema, list):
        return [_strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _strict(entry) for key, entry in schema.items() if key != "properties"}
    result |= OTHERWISE.get(schema.get("format", ""), {})
    if schema.get("x-kubernetes-int-or-string"):
        result |= OTHERWISE["int-or-string"]
    if "properties" in schema:
        result["properties"] = {name: _strict(entry) for name, entry in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    return result
