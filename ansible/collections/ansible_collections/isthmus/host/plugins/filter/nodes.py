"""What has to be done to make the nodes, their labels and taints those that the inventory says; pure functions."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any

OWNED = "isthmus.internal/"
"""Annotations that name the labels and taints which we set: one that left the inventory is taken away, and no other."""


HOST = OWNED + "host"
"""Annotation on nodes that the inventory brought: they go when they leave it, others do not."""

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def taint_objects(taints: list[str]) -> list[dict[str, str]]:
    """key=value:Effect -> what Kubernetes calls a taint."""
    return [_taint(taint) for taint in taints]


def _taint(text: str) -> dict[str, str]:
    rest, _, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    return {"key": key, "effect": effect} | ({"value": value} if value else {})


def _text(taint: Mapping[str, Any]) -> str:
    value = taint.get("value")
    return f"{taint['key']}={value}:{taint['effect']}" if value else f"{taint['key']}:{taint['effect']}"


def node_commands(nodes: list[dict[str, Any]], wanted: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """kubectl's arguments, one entry a command; nothing where a node is as it should be.

    `wanted`: node name -> {labels: dict, taints: list of key=value:Effect}. Labels and taints that others set stay.
    """
    commands = []
    for node in nodes:
        name = node["metadata"]["name"]
        if name in wanted:
            if HOST not in node["metadata"].get("annotations", {}):
                commands.append(f"annotate node {name} {HOST}=true")
            commands += _labels(name, node, wanted[name]["labels"]) + _taints(name, node, wanted[name]["taints"])
    return commands


def removed_nodes(nodes: list[dict[str, Any]], wanted: Mapping[str, Any]) -> list[str]:
    """Names of the workers that the inventory brought and does not have any more."""
    return [
        node["metadata"]["name"]
        for node in nodes
        if node["metadata"]["name"] not in wanted
        and HOST in node["metadata"].get("annotations", {})
        and CONTROL_PLANE not in node["metadata"].get("labels", {})
    ]


def _owned(node: Mapping[str, Any], kind: str) -> list[str]:
    return [entry for entry in node["metadata"].get("annotations", {}).get(OWNED + kind, "").split() if entry]


def _annotate(name: str, kind: str, entries: list[str]) -> list[str]:
    value = shlex.quote(f"{OWNED}{kind}={' '.join(entries)}")
    return [f"annotate --overwrite node {name} {value}"]


def _labels(name: str, node: Mapping[str, Any], labels: Mapping[str, str]) -> list[str]:
    present = node["metadata"].get("labels", {})
    owned = _owned(node, "labels")
    changes = [shlex.quote(f"{key}={value}") for key, value in sorted(labels.items()) if present.get(key) != str(value)]
    changes += [f"{key}-" for key in owned if key not in labels and key in present]
    commands = [f"label --overwrite node {name} {' '.join(changes)}"] if changes else []
    return commands + (_annotate(name, "labels", sorted(labels)) if sorted(labels) != sorted(owned) else [])


def _taints(name: str, node: Mapping[str, Any], taints: list[str]) -> list[str]:
    present = {_text(taint) for taint in node["spec"].get("taints", [])}
    owned = _owned(node, "taints")
    changes = [shlex.quote(taint) for taint in sorted(taints) if _text(_taint(taint)) not in present]
    kept = {(taint["key"], taint["effect"]) for taint in taint_objects(taints)}
    for taint in owned:
        parts = _taint(taint)
        if (parts["key"], parts["effect"]) not in kept and _text(parts) in present:
            changes.append(f"{parts['key']}:{parts['effect']}-")
    commands = [f"taint --overwrite node {name} {' '.join(changes)}"] if changes else []
    return commands + (_annotate(name, "taints", sorted(taints)) if sorted(taints) != sorted(owned) else [])


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters, by the name that roles use."""
        return {"node_commands": node_commands, "removed_nodes": removed_nodes, "taint_objects": taint_objects}
