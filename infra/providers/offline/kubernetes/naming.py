"""Names, ids and the annotations by which a program steers single resources; all as the official plugin has them."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.kubernetes.kinds import Kind
from infra.providers.offline.values import at

AUTONAMED = "pulumi.com/autonamed"
DELETION_POLICY = "pulumi.com/deletionPropagationPolicy"
FIELD_MANAGER = "pulumi.com/patchFieldManager"
FORCE = "pulumi.com/patchForce"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"

_KNOWN = frozenset({AUTONAMED, DELETION_POLICY, FIELD_MANAGER, FORCE, REPLACE_UNREADY, SKIP_AWAIT, TIMEOUT})


def part(obj: dict[str, Any], key: str) -> Any:
    """A mapping inside an object: empty when it is absent or null; it may be UNKNOWN."""
    value = obj.get(key)
    return {} if value is None else value


def annotation(obj: dict[str, Any], key: str) -> str | None:
    """An annotation that is set and known."""
    value = at(obj, "metadata", "annotations", key)
    return value if isinstance(value, str) else None


def flag(obj: dict[str, Any], key: str) -> bool:
    """Whether an annotation says true."""
    return annotation(obj, key) == "true"


def unknown_annotations(obj: dict[str, Any]) -> list[str]:
    """Annotations that the official plugin may act on and this stand-in does not; passing them over would be a lie."""
    annotations = at(obj, "metadata", "annotations")
    keys = annotations if isinstance(annotations, dict) else {}
    return sorted(key for key in keys if key.startswith("pulumi.com/") and key not in _KNOWN)


def with_name(news: dict[str, Any], olds: dict[str, Any], logical_name: str, seed: bytes) -> dict[str, Any]:
    """The inputs with a name: their own, or the one that autonaming gave before, or a new `<logical name>-<8 hex>`.

    A replacement is checked without old inputs, so it gets another name than the object that it replaces.
    """
    metadata = part(news, "metadata")
    if metadata is UNKNOWN or metadata.get("name") is not None:
        return news
    annotations = part(metadata, "annotations")
    if annotations is UNKNOWN:
        return news
    name = at(olds, "metadata", "name") if flag(olds, AUTONAMED) else None
    if not isinstance(name, str):
        digits = hashlib.sha256(seed).hexdigest()[:8] if seed else secrets.token_hex(4)
        name = f"{logical_name}-{digits}"
    named = {**metadata, "name": name, "annotations": {**annotations, AUTONAMED: "true"}}
    return {**news, "metadata": named}


def with_namespace(kind: Kind, news: dict[str, Any], default: str) -> dict[str, Any]:
    """The inputs with a namespace, where the kind lives in one and the program does not say which.

    Custom resources get theirs when they are applied: before, the cluster may not know whether they have one.
    """
    metadata = part(news, "metadata")
    if not kind.namespaced or metadata is UNKNOWN or metadata.get("namespace") is not None:
        return news
    return {**news, "metadata": {**metadata, "namespace": default}}


def identifier(obj: dict[str, Any]) -> str:
    """An object's Pulumi id: `namespace/name`, or `name` outside namespaces."""
    metadata = obj["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]


def split(rid: str) -> tuple[str | None, str]:
    """Namespace and name of an id."""
    namespace, _, name = rid.rpartition("/")
    return namespace or None, name


def field_manager(urn: str, obj: dict[str, Any], state: dict[str, Any]) -> str:
    """Who Kubernetes records as the owner of the fields: what the object says, or what it had, or one of its own.

    The last follows from the resource's URN, so a create whose end nobody saw can be told from someone else's object.
    """
    digest = hashlib.sha256(urn.encode()).hexdigest()[:8]
    return annotation(obj, FIELD_MANAGER) or state.get("__fieldManager") or f"pulumi-kubernetes-{digest}"
