"""Inputs, objects and outputs, and errors of the API server."""

from __future__ import annotations

import json

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.kubernetes import errors, shape
from infra.providers.offline.kubernetes.kinds import Kind, of_token

SECRET = of_token("kubernetes:core/v1:Secret")
DEFINITION = of_token("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition")


def test_text_of_a_secret_is_sent_as_data() -> None:
    inputs = {"metadata": {"name": "it", "namespace": "here"}, "data": {"b": "Mg=="}, "stringData": {"a": "1"}}
    obj = shape.to_api(SECRET, inputs, "default")
    assert obj["data"] == {"a": "MQ==", "b": "Mg=="}
    assert "stringData" not in obj
    assert "stringData" in inputs, "the inputs were changed"


def test_a_custom_resource_gets_the_default_namespace_where_it_lives_in_one() -> None:
    inputs = {"metadata": {"name": "it"}}
    inside = Kind(group="x.io", version="v1", name="X", plural="xs", namespaced=True)
    outside = Kind(group="x.io", version="v1", name="X", plural="xs", namespaced=False)
    assert shape.to_api(inside, inputs, "team")["metadata"]["namespace"] == "team"
    assert "namespace" not in shape.to_api(outside, inputs, "team")["metadata"]


def test_schema_keys_are_respelled_both_ways() -> None:
    spelled = {"metadata": {"name": "it"}, "spec": [{"x_kubernetes_int_or_string": True}]}
    obj = shape.to_api(DEFINITION, spelled, "default")
    assert obj["spec"] == [{"x-kubernetes-int-or-string": True}]
    assert shape.from_api(DEFINITION, obj)["spec"] == spelled["spec"]


def test_the_content_of_a_secret_is_always_secret() -> None:
    assert {("data",), ("stringData",)} <= shape.secret_paths(SECRET, frozenset())
    assert shape.secret_paths(DEFINITION, frozenset({("spec", "a")})) == {("spec", "a")}


def test_a_promise_keeps_open_what_only_the_true_object_has() -> None:
    inputs = {"metadata": {"name": "it"}, "spec": {"clusterIP": "None"}}
    promise = shape.promised(of_token("kubernetes:core/v1:Service"), inputs, inputs)
    assert promise["metadata"]["uid"] is UNKNOWN
    assert promise["metadata"]["name"] == "it"
    assert promise["spec"] == {"clusterIP": "None", "clusterIPs": UNKNOWN}
    open_too = {"metadata": UNKNOWN, "spec": {"clusterIP": UNKNOWN}}
    assert shape.promised(of_token("kubernetes:core/v1:Service"), open_too, open_too)["spec"]["clusterIP"] is UNKNOWN


def test_a_conflict_names_owners_and_fields() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using v1', "field": ".spec.replicas"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl" using v1', "field": ".data.a"},
    ]
    body = json.dumps({"reason": "Conflict", "message": "Apply failed", "details": {"causes": causes}})
    text = str(errors.of_response(409, body, doing="apply it"))
    assert text.startswith('apply it: fields are owned by another field manager: "kubectl" owns data.a, spec.replicas.')


def test_other_refusals_keep_the_servers_words() -> None:
    refused = errors.of_response(422, json.dumps({"message": "spec is wrong", "reason": "Invalid"}), doing="apply it")
    assert str(refused) == "apply it: spec is wrong"
    assert not refused.transient
    assert errors.of_response(503, b"", doing="apply it").transient
    assert str(errors.of_response(500, "<html>", doing="apply it")) == "apply it: <html>"


def test_an_update_that_cannot_be_tried_keeps_what_the_inputs_do_not_say() -> None:
    state = {"metadata": {"name": "it", "uid": "1"}, "spec": {"a": [1, 2], "b": 1}, "status": {"c": 1}}
    inputs = {"metadata": {"name": "it"}, "spec": {"a": [UNKNOWN]}}
    found = shape.overlaid(state, inputs)
    assert found == {"metadata": {"name": "it", "uid": "1"}, "spec": {"a": [UNKNOWN], "b": 1}, "status": {"c": 1}}
