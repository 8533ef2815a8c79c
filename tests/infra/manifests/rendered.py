"""A registered resource as the object that the API server gets."""

from __future__ import annotations

from typing import Any

from infra.platform.chart import Manifest
from infra.providers.offline.kubernetes import kinds, shape
from tests.infra import recording
from tests.infra.recording import Resource


def manifests(resources: list[Resource], cluster: str | None = None) -> list[Manifest]:
    """Every Kubernetes object among the resources, or every one of a cluster (the name of its provider)."""
    return [
        manifest(one)
        for one in resources
        if one.type.startswith("kubernetes:") and cluster in (None, one.options.provider)
    ]


def manifest(resource: Resource) -> Manifest:
    """The object, with what is secret in it in plain, as on its way to the API server."""
    kind = kinds.of_token(resource.type)
    assert (resource.inputs["apiVersion"], resource.inputs["kind"]) == (kind.api_version, kind.name)
    return shape.to_api(kind, _plain(resource.inputs), namespace="default")


def _plain(value: Any) -> Any:
    if recording.is_secret(value):
        return _plain(value["value"])
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value
