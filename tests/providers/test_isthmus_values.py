"""Values between the engine and the handlers: secrets stay secret, unknowns stay unknown, numbers keep their kind."""

from __future__ import annotations

import pytest
from pulumi.provider.experimental.property_value import Computed, PropertyValue
from pulumi.runtime import rpc

from infra.providers.isthmus.handler import UNKNOWN, Change, has_unknown, input_changes
from infra.providers.isthmus.values import plain, wire, wire_map


def test_the_engines_mark_for_unknown_becomes_unknown_wherever_it_stands() -> None:
    value = PropertyValue({"address": PropertyValue(rpc.UNKNOWN), "ports": PropertyValue([PropertyValue(Computed())])})
    assert plain(value) == {"address": UNKNOWN, "ports": [UNKNOWN]}
    assert has_unknown(plain(value))


def test_whole_numbers_become_ints_and_go_back_as_numbers() -> None:
    assert plain(PropertyValue(3.0)) == 3
    assert isinstance(plain(PropertyValue(3.0)), int)
    assert plain(PropertyValue(True)) is True
    assert wire(3).value == 3.0
    assert wire(False).value is False


def test_declared_secrets_are_marked_and_others_are_not() -> None:
    answer = wire_map({"value": "hush", "bytes": 16}, secrets=frozenset({"value"}), known={})
    assert answer["value"].is_secret
    assert not answer["bytes"].is_secret


def test_a_secret_deep_inside_an_input_stays_one_in_the_output() -> None:
    known = {"variables": PropertyValue({"token": PropertyValue("hush", is_secret=True), "port": PropertyValue(1.0)})}
    same = wire_map({"variables": {"token": "hush", "port": 1}}, secrets=frozenset(), known=known)
    assert same["variables"] == known["variables"], "an unchanged value keeps exactly its own secret parts"
    changed = wire_map({"variables": {"token": "hush", "port": 2}}, secrets=frozenset(), known=known)
    assert changed["variables"].is_secret, "a changed value that held a secret is a secret as a whole"


def test_an_unknown_value_has_no_truth() -> None:
    with pytest.raises(TypeError, match="is UNKNOWN"):
        bool(UNKNOWN)


def test_input_changes_name_what_differs_and_what_needs_a_replacement() -> None:
    olds = {"a": 1, "b": 1, "output": "x"}
    news = {"a": 2, "b": 1, "c": 1}
    assert input_changes(olds, news, replace=frozenset({"a"})) == [
        Change(path="a", kind="update", replace=True),
        Change(path="c", kind="add"),
    ]
    assert input_changes(olds, news, ignore=frozenset({"a", "c"})) == []
    assert input_changes({"a": UNKNOWN}, {"a": UNKNOWN}), "an unknown value may differ"
