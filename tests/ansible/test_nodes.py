"""The filters of labels and taints: what differs is set, what is ours and gone is taken away, the rest stays."""

from __future__ import annotations

import importlib.util
from typing import Any

from tests.ansible.conftest import COLLECTION

_spec = importlib.util.spec_from_file_location("nodes_filter", COLLECTION / "filter" / "nodes.py")
assert _spec is not None
assert _spec.loader is not None
nodes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nodes)


def _node(
    present: dict[str, str] | None = None, tainted: list[dict[str, str]] | None = None, **owned: str
) -> dict[str, Any]:
    annotations = {f"isthmus.internal/{kind}": text for kind, text in ({"host": "true"} | owned).items()}
    return {
        "metadata": {"name": "one", "labels": present or {}, "annotations": annotations},
        "spec": {"taints": tainted or []},
    }


def _commands(node: dict[str, Any], labels: dict[str, str] | None = None, taints: list[str] | None = None) -> list[str]:
    result: list[str] = nodes.node_commands([node], {"one": {"labels": labels or {}, "taints": taints or []}})
    return result


def test_a_node_that_is_right_needs_nothing() -> None:
    right = _node(
        {"rack": "a"},
        [{"key": "gpu", "value": "true", "effect": "NoSchedule"}],
        labels="rack",
        taints="gpu=true:NoSchedule",
    )
    assert _commands(right, {"rack": "a"}, ["gpu=true:NoSchedule"]) == []


def test_a_label_that_differs_is_set_and_remembered_as_ours() -> None:
    assert _commands(_node({"rack": "b"}), {"rack": "a"}) == [
        "label --overwrite node one rack=a",
        "annotate --overwrite node one isthmus.internal/labels=rack",
    ]


def test_only_labels_and_taints_of_ours_are_taken_away() -> None:
    node = _node(
        {"rack": "a", "others": "1"},
        [{"key": "gpu", "effect": "NoSchedule"}, {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}],
        labels="rack",
        taints="gpu:NoSchedule",
    )
    commands = _commands(node)
    assert commands[0] == "label --overwrite node one rack-"
    assert commands[2] == "taint --overwrite node one gpu:NoSchedule-"
    assert not any("others" in command or "not-ready" in command for command in commands)


def test_a_node_that_the_inventory_does_not_know_is_left_alone() -> None:
    assert nodes.node_commands([_node({"rack": "b"})], {"two": {"labels": {}, "taints": []}}) == []


def test_a_node_that_the_inventory_brought_is_marked_once() -> None:
    node = _node()
    del node["metadata"]["annotations"]["isthmus.internal/host"]
    assert _commands(node) == ["annotate node one isthmus.internal/host=true"]


def _removed(node: dict[str, Any], *wanted: str) -> list[str]:
    result: list[str] = nodes.removed_nodes([node], dict.fromkeys(wanted))
    return result


def test_a_worker_that_left_the_inventory_is_removed() -> None:
    assert _removed(_node(), "two") == ["one"]
    assert _removed(_node(), "one", "two") == []


def test_nodes_of_others_and_control_planes_are_never_removed() -> None:
    others = _node()
    del others["metadata"]["annotations"]["isthmus.internal/host"]
    assert _removed(others) == []
    assert _removed(_node({"node-role.kubernetes.io/control-plane": ""})) == []
