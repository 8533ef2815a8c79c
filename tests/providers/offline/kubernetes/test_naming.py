"""Names, namespaces and who owns the fields."""

from __future__ import annotations

import re
from typing import Any

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.kubernetes import naming
from infra.providers.offline.kubernetes.kinds import of_token

CONFIG_MAP = of_token("kubernetes:core/v1:ConfigMap")
NAMESPACE = of_token("kubernetes:core/v1:Namespace")


def test_a_name_of_ones_own_stays() -> None:
    news = {"metadata": {"name": "mine"}}
    assert naming.with_name(news, {}, "logical", b"seed") == news


def test_a_missing_name_is_made_of_the_logical_one_and_kept() -> None:
    first = naming.with_name({}, {}, "logical", b"seed")
    assert re.fullmatch(r"logical-[0-9a-f]{8}", first["metadata"]["name"])
    assert first["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}
    again = naming.with_name({"metadata": {"labels": {"a": "b"}}}, first, "logical", b"other")
    assert again["metadata"]["name"] == first["metadata"]["name"]
    replaced = naming.with_name({}, {}, "logical", b"other")
    assert replaced["metadata"]["name"] != first["metadata"]["name"]


def test_a_name_that_was_given_before_is_not_taken_for_an_autoname() -> None:
    before = {"metadata": {"name": "mine"}}
    assert naming.with_name({}, before, "logical", b"seed")["metadata"]["name"] != "mine"


def test_an_unknown_name_is_left_alone() -> None:
    for news in ({"metadata": UNKNOWN}, {"metadata": {"name": UNKNOWN}}, {"metadata": {"annotations": UNKNOWN}}):
        assert naming.with_name(news, {}, "logical", b"") == news


def test_only_objects_of_namespaces_get_one() -> None:
    def given(kind: Any, metadata: dict[str, Any]) -> Any:
        return naming.with_namespace(kind, {"metadata": metadata}, "team")["metadata"].get("namespace")

    assert given(CONFIG_MAP, {}) == "team"
    assert given(CONFIG_MAP, {"namespace": "own"}) == "own"
    assert given(NAMESPACE, {}) is None
    assert given(of_token("kubernetes:cilium.io/v2:CiliumNetworkPolicy"), {}) is None


def test_ids() -> None:
    assert naming.identifier({"metadata": {"name": "a", "namespace": "b"}}) == "b/a"
    assert naming.identifier({"metadata": {"name": "a"}}) == "a"
    assert naming.split("b/a") == ("b", "a")
    assert naming.split("a") == (None, "a")


def test_the_field_manager_is_the_annotations_then_the_states_then_the_resources_own() -> None:
    annotated = {"metadata": {"annotations": {"pulumi.com/patchFieldManager": "isthmus"}}}
    assert naming.field_manager("urn:x", annotated, {"__fieldManager": "old"}) == "isthmus"
    assert naming.field_manager("urn:x", {}, {"__fieldManager": "old"}) == "old"
    own = naming.field_manager("urn:x", {}, {})
    assert re.fullmatch(r"pulumi-kubernetes-[0-9a-f]{8}", own)
    assert own == naming.field_manager("urn:x", {}, {})
    assert own != naming.field_manager("urn:y", {}, {})


def test_annotations_that_would_do_nothing_are_found() -> None:
    obj = {"metadata": {"annotations": {"pulumi.com/waitFor": "x", "pulumi.com/skipAwait": "true", "other.com/x": "y"}}}
    assert naming.unknown_annotations(obj) == ["pulumi.com/waitFor"]
