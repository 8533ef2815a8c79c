"""Who left is told to the play, until a run has finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.providers.isthmus import leavers
from infra.providers.isthmus.handler import PartialFailure
from infra.providers.isthmus.playbook import Playbook
from tests.providers.test_playbook_local import HERE, Spoken, context, inputs

__all__ = ["inputs"]

LINE = "ssh-ed25519 AAAA"
A, B = ({"ansible_host": f"10.0.0.{number}", "host_key": LINE, "node_labels": {}} for number in (1, 2))


def inventory(**groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    hosts = {host: variables for members in groups.values() for host, variables in members.items()}
    children: dict[str, Any] = {name: {"hosts": {host: {} for host in members}} for name, members in groups.items()}
    return {"all": {"hosts": hosts, "children": children}}


def told(olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    """The groups with somebody in them."""
    found = leavers.groups(leavers.find(olds, news), news)
    assert all(set(group) == {"hosts"} for group in found.values())
    return {name: group["hosts"] for name, group in found.items() if group["hosts"]}


BEFORE = {"inventory": inventory(worker={"a": A, "b": B}, balancer={"b": B})}
REACHED = {"ansible_host": "10.0.0.2", "host_key": LINE}


def test_a_host_that_left_is_reached_as_before_and_is_in_no_group_of_the_inventory() -> None:
    news = inventory(worker={"a": A}, balancer={"a": A})
    assert told(BEFORE, news) == {"left": {"b": REACHED}, "was_worker": {"b": {}}, "was_balancer": {"b": {}}}


def test_a_host_that_stays_is_told_of_the_groups_that_it_left() -> None:
    assert told(BEFORE, inventory(worker={"a": A, "b": B}, balancer={"a": A})) == {"was_balancer": {"b": {}}}


@pytest.mark.parametrize("olds", [BEFORE, {}], ids=["nobody left", "the first run"])
def test_the_groups_exist_where_nobody_left(olds: dict[str, Any]) -> None:
    news = BEFORE["inventory"]
    found = leavers.groups(leavers.find(olds, news), news)
    assert found == {name: {"hosts": {}} for name in ("left", "was_worker", "was_balancer")}


def test_a_machine_with_another_name_has_not_left() -> None:
    """Its old name would take away what the new one has: it is the same machine."""
    assert told(BEFORE, inventory(worker={"a": A, "c": B}, balancer={"c": B})) == {}
    assert told(BEFORE, inventory(worker={"a": A, "c": B}, balancer={"a": A})) == {"was_balancer": {"c": {}}}


def test_who_left_before_a_run_that_did_not_finish_is_told_again_unless_it_came_back() -> None:
    without = inventory(worker={"a": A}, balancer={"a": A})
    failed = {"inventory": without, "leaving": leavers.find(BEFORE, without)}
    assert told(failed, without) == told(BEFORE, without)
    assert told(failed, inventory(worker={"a": A, "b": B}, balancer={"a": A})) == {"was_balancer": {"b": {}}}
    assert told(failed, BEFORE["inventory"]) == {"was_balancer": {"a": {}}}


PLAY = """
- hosts: control_plane
  gather_facts: false
  tasks: [{ansible.builtin.command: "{{ stopper | default('true') }}"}]
- hosts: was_worker
  gather_facts: false
  ignore_unreachable: true
  tasks:
    - name: Let go
      ansible.builtin.copy:
        dest: "{{ target }}/{{ inventory_hostname }}"
        content: "{{ group_names | join(' ') }}"
        mode: "0644"
"""
NOBODY = {"ansible_host": "127.0.0.1", "ansible_port": 1, "host_key": LINE}


def test_the_play_takes_back_what_it_gave_and_a_run_that_failed_is_not_forgotten(inputs: dict[str, Any]) -> None:
    (Path(inputs["folder"]) / "site.yml").write_text(PLAY)
    inputs["outputs"] = []
    target = Path(inputs["variables"]["target"])
    both = {"worker": {"hosts": {"there": HERE}}, "control_plane": {"hosts": {"here": HERE}}}
    rid, state = Playbook().create(context(), {**inputs, "inventory": {**both}})
    assert not (target / "there").exists()
    less = {**inputs, "inventory": {**both, "worker": {"hosts": {}}}}
    with pytest.raises(PartialFailure) as failure:
        Playbook().update(
            context(), rid, state, {**less, "variables": {**inputs["variables"], "stopper": "ls /nowhere"}}
        )
    assert not (target / "there").exists(), "the play must have ended before"
    after = Playbook().update(context(), rid, failure.value.state, less)
    assert (target / "there").read_text() == "left was_worker"
    assert (after["completed"], after["leaving"]) == (True, {})
    (target / "there").unlink()
    assert Playbook().diff(context(), rid, after, less) == []
    Playbook().update(context(), rid, after, {**less, "roles_digest": "sha256:2"})
    assert not (target / "there").exists(), "it is told once"


def test_a_leaver_that_does_not_answer_is_named_and_holds_nobody_up(inputs: dict[str, Any]) -> None:
    (Path(inputs["folder"]) / "site.yml").write_text(PLAY)
    Path(inputs["private_key_path"]).touch()
    inputs["outputs"] = []
    before = {**inputs["inventory"], "worker": {"hosts": {"off": NOBODY}}}
    state = {**inputs, "inventory": before, "results": {}, "summary": "", "completed": True, "drift": []}
    log = Spoken()
    after = Playbook().update(context(log), "site", state, inputs)
    assert (after["completed"], after["leaving"]) == (True, {})
    assert any(kind == "warning" and "unreachable: off. Wipe them" in message for kind, message in log.lines)
