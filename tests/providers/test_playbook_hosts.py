"""Which hosts a run of the Playbook resource is about."""

from __future__ import annotations

from typing import Any

import pytest

from infra.providers.isthmus.playbook_diff import changed_hosts

SETTLED = {
    "playbook": "site.yml",
    "inventory": {
        "all": {"hosts": {"a": {"address": "1"}, "b": {"address": "2"}}, "vars": {"x": 1}},
        "worker": {"hosts": {"a": {}, "b": {}}},
    },
    "variables": {"version": "v1"},
    "roles_digest": "sha256:1",
    "outputs": [],
    "completed": True,
    "drift": [],
}


def _inventory(worker: tuple[str, ...] = ("a", "b"), x: int = 1, **hosts: dict[str, str]) -> dict[str, Any]:
    known = {**SETTLED["inventory"]["all"]["hosts"], **hosts}  # type: ignore[index]
    return {
        "all": {"hosts": {name: values for name, values in known.items() if values}, "vars": {"x": x}},
        "worker": {"hosts": {name: {} for name in worker}},
    }


@pytest.mark.parametrize(
    ("inventory", "changed"),
    [
        (_inventory(("a", "b", "c"), c={"address": "3"}), ["c"]),
        (_inventory(b={"address": "4"}), ["b"]),
        (_inventory(("a",)), ["b"]),
        (_inventory(b={"address": "4"}, x=2), ["a", "b"]),
        (_inventory(("a", "c"), b={}, c={"address": "3"}), ["a", "c"]),
        (_inventory(), ["a", "b"]),
    ],
    ids=["a host more", "another address", "out of a group", "a group's variable", "a host less", "nothing"],
)
def test_a_run_is_about_the_hosts_that_changed_where_they_are_its_only_reason(
    inventory: dict[str, Any], changed: list[str]
) -> None:
    assert changed_hosts(SETTLED, {**SETTLED, "inventory": inventory}) == changed


@pytest.mark.parametrize(
    ("olds", "news"),
    [
        ({"completed": False}, {}),
        ({"drift": ["a: Write the greeting"]}, {}),
        ({}, {"variables": {"version": "v2"}}),
        ({}, {"roles_digest": "sha256:2"}),
        ({}, {"check_on_diff": True}),
    ],
    ids=["not finished", "drift", "a variable", "a role", "hosts are asked"],
)
def test_a_run_with_another_reason_is_about_all_hosts(olds: dict[str, Any], news: dict[str, Any]) -> None:
    wider = {**SETTLED, "inventory": _inventory(("a", "b", "c"), c={"address": "3"})}
    assert changed_hosts({**SETTLED, **olds}, {**wider, **news}) == ["a", "b", "c"]


def test_the_first_run_is_about_all_hosts() -> None:
    assert changed_hosts({}, SETTLED) == ["a", "b"]
