"""Every object that the program makes is as the API servers of its cluster want it, for every reviewed environment."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from infra.platform.chart import Manifest
from tests.infra.manifests import schema

SERVICE: Manifest = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "it", "namespace": "here"},
    "spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http"}]},
}
CLAIM: Manifest = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "it", "namespace": "here"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1.5Gi"}}},
}
WIDGET: Manifest = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "it"}, "size": 1, "free": {}}
DEFINITION: Manifest = {
    "spec": {
        "group": "example.org",
        "names": {"kind": "Widget"},
        "versions": [
            {"name": "v0", "served": False},
            {
                "name": "v1",
                "served": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["size"],
                        "properties": {
                            "apiVersion": {"type": "string"},
                            "kind": {"type": "string"},
                            "metadata": {"type": "object"},
                            "size": {"x-kubernetes-int-or-string": True},
                            "free": {"properties": {}, "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            },
        ],
    }
}


def test_every_object_is_as_the_schema_of_its_kind_has_it(cluster: list[Manifest]) -> None:
    definitions = [one for one in cluster if one["kind"] == "CustomResourceDefinition"]
    assert cluster
    for one in cluster:
        assert schema.faults(one, definitions) == [], f"{one['kind']} {one['metadata']['name']}"


@pytest.mark.parametrize("good", [SERVICE, CLAIM, WIDGET, {**WIDGET, "free": {"a": 1}}], ids=lambda one: one["kind"])
def test_a_sound_object_is_accepted(good: Manifest) -> None:
    assert schema.faults(good, [DEFINITION]) == []


@pytest.mark.parametrize(
    ("good", "path", "value", "told"),
    [
        (SERVICE, ("spec", "selectors"), {"a": "b"}, "'selectors' was unexpected"),
        (SERVICE, ("spec", "ports", 0, "port"), "80", "'80' is not of type 'integer'"),
        (SERVICE, ("spec", "ports", 0, "port"), 2**31, "greater than the maximum"),
        (SERVICE, ("spec", "ports", 0, "targetPort"), [80], "is not of type 'integer', 'string'"),
        (SERVICE, ("spec", "selector", "a"), 1, "1 is not of type 'string'"),
        (SERVICE, ("spec", "ports", 0), {"name": "http"}, "'port' is a required property"),
        (SERVICE, ("status",), {}, "'status' was unexpected"),
        (SERVICE, ("metadata",), {"namespace": "here"}, "'name' is a required property"),
        (CLAIM, ("spec", "resources", "requests", "storage"), "1.5 Gi", "'1.5 Gi' does not match"),
        (WIDGET, ("sizes",), 2, "'sizes' was unexpected"),
        (WIDGET, ("size",), 1.5, "1.5 is not of type 'integer', 'string'"),
        (WIDGET, ("metadata", "label"), {}, "'label' was unexpected"),
    ],
    ids=lambda one: ".".join(map(str, one)) if isinstance(one, tuple) else None,
)
def test_what_is_not_in_the_schema_is_told(good: Manifest, path: tuple[Any, ...], value: Any, told: str) -> None:
    bad = copy.deepcopy(good)
    place: Any = bad
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (fault,) = schema.faults(bad, [DEFINITION])
    assert told in fault


@pytest.mark.parametrize("version", ["v0", "v2"])
def test_a_custom_resource_that_nothing_defines_is_named(version: str) -> None:
    stray = {**WIDGET, "apiVersion": f"example.org/{version}"}
    with pytest.raises(schema.UnknownKind, match=f"^example.org/{version}/Widget$"):
        schema.faults(stray, [DEFINITION])
