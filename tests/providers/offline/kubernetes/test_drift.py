"""What a live object says about its inputs."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from infra.providers.offline.kubernetes.drift import live_inputs


def seen(wanted: Any, live: Any) -> Any:
    """A spec's value as it is found."""
    return live_inputs({"spec": wanted}, {"metadata": {}, "spec": live})["spec"]


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {"a": 1, "default": "x"}),
        ({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": "1"}}),
        ({"limits": {"cpu": 1}}, {"limits": {"cpu": "1"}}),
        ({"limits": {"memory": "1024Mi"}}, {"limits": {"memory": "1Gi"}}),
        ({"limits": {"memory": "0.5Gi"}}, {"limits": {"memory": "512Mi"}}),
        ({"limits": {"memory": "1e3"}}, {"limits": {"memory": "1k"}}),
        ({"a": {}, "b": [], "c": "", "d": False, "e": 0, "f": None, "g": {"h": None}}, {}),
        ([{"name": "a", "x": 1}], [{"name": "a", "x": 1, "default": 2}]),
        ([{"name": "a"}, {"name": "b"}], [{"name": "a"}, {"name": "b"}]),
        ([{"port": 80}], [{"port": 80, "protocol": "TCP"}]),
    ],
)
def test_what_the_server_added_or_respelled_is_no_drift(wanted: Any, live: Any) -> None:
    assert seen(wanted, live) == wanted


@pytest.mark.parametrize(
    ("wanted", "live", "found"),
    [
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": "x", "b": 1}, {"b": 1}, {"b": 1}),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, {"limits": {"cpu": "2"}}),
        ({"args": ["1.0"]}, {"args": ["1"]}, {"args": ["1"]}),
        ([{"name": "a"}], [{"name": "a"}, {"name": "theirs"}], [{"name": "a"}, {"name": "theirs"}]),
        ([{"name": "a"}, {"name": "b", "x": 1}], [{"name": "b", "x": 2, "y": 3}], [{"name": "b", "x": 2}]),
        (["a", "b"], ["a"], ["a"]),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": True}, {"a": False}, {"a": False}),
    ],
)
def test_what_others_changed_is_drift(wanted: Any, live: Any, found: Any) -> None:
    assert seen(wanted, live) == found


def test_text_of_a_secret_is_compared_with_its_base64() -> None:
    data = {"a": base64.b64encode(b"theirs").decode(), "raw": base64.b64encode(b"\xff").decode()}
    found = live_inputs({"stringData": {"a": "mine", "raw": "x", "lost": "y"}}, {"metadata": {}, "data": data})
    assert found["stringData"] == {"a": "theirs", "raw": data["raw"]}


def test_an_import_takes_all_but_the_servers_part() -> None:
    live = {
        "kind": "X",
        "metadata": {"name": "it", "uid": "1", "managedFields": []},
        "spec": {"a": 1},
        "status": {"b": 2},
    }
    assert live_inputs({}, live) == {"kind": "X", "metadata": {"name": "it"}, "spec": {"a": 1}}
