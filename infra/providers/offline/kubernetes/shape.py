"""Between three shapes of an object: the program's inputs, what the API server takes, and the outputs that are kept."""

from __future__ import annotations

import base64
from typing import Any

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.kubernetes.kinds import Kind
from infra.providers.offline.values import Path, at

FIELD_MANAGER = "__fieldManager"
INITIAL_VERSION = "__initialApiVersion"

# Schemas of custom resources have keys that are no Python names, so the SDK spells them with underscores.
_SDK, _API = "x_kubernetes_", "x-kubernetes-"


def to_api(kind: Kind, inputs: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The object to apply. `namespace` is for custom resources that do not say theirs; `kind` must be resolved."""
    obj = {**inputs, "apiVersion": kind.api_version, "kind": kind.name, "metadata": dict(inputs["metadata"])}
    if kind.namespaced:
        obj["metadata"].setdefault("namespace", namespace)
    if kind.name == "CustomResourceDefinition":
        return _respell(obj, _SDK, _API)
    if kind.name == "Secret" and kind.group == "" and obj.get("stringData"):
        # As data, each key has this program as its owner, and a key that it drops is dropped from the Secret.
        texts = {key: base64.b64encode(text.encode()).decode() for key, text in obj.pop("stringData").items()}
        obj["data"] = {**(obj.get("data") or {}), **texts}
    return obj


def from_api(kind: Kind, live: dict[str, Any]) -> dict[str, Any]:
    """A live object as the SDK spells it, without the record of who owns which field."""
    metadata = {key: value for key, value in live["metadata"].items() if key != "managedFields"}
    obj = {**live, "metadata": metadata}
    return _respell(obj, _API, _SDK) if kind.name == "CustomResourceDefinition" else obj


def outputs(kind: Kind, live: dict[str, Any], manager: str, state: dict[str, Any]) -> dict[str, Any]:
    """What the engine keeps."""
    first = state.get(INITIAL_VERSION) or kind.api_version
    return {**from_api(kind, live), FIELD_MANAGER: manager, INITIAL_VERSION: first}


def promised(kind: Kind, expected: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """The outputs of an object that a preview would make: what only the true object will have is unknown."""
    metadata = expected.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    unknown = dict.fromkeys(("uid", "resourceVersion", "creationTimestamp", "generation"), UNKNOWN)
    promise = {**expected, "metadata": {**metadata, **unknown}, "status": UNKNOWN}
    if kind.name == "Service" and isinstance(expected.get("spec"), dict):
        chosen = {key: at(inputs, "spec", key) for key in ("clusterIP", "clusterIPs")}
        addresses = {key: UNKNOWN if value is None else value for key, value in chosen.items()}
        promise["spec"] = {**expected["spec"], **addresses}
    return promise


def overlaid(state: Any, inputs: Any) -> Any:
    """The last known object with new inputs laid over it: what an update gives that cannot be tried yet."""
    if isinstance(state, dict) and isinstance(inputs, dict):
        return {**state, **{key: overlaid(state.get(key), value) for key, value in inputs.items()}}
    return inputs


def secret_paths(kind: Kind, secrets: frozenset[Path]) -> frozenset[Path]:
    """What of an object is secret: all that was secret in the inputs, and of a Secret its content in any case."""
    if kind.name == "Secret" and kind.group == "":
        return secrets | {("data",), ("stringData",)}
    return secrets


def _respell(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {
            new + key.removeprefix(old).replace(old[-1], new[-1]) if key.startswith(old) else key: _respell(
                item, old, new
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_respell(item, old, new) for item in value]
    return value
