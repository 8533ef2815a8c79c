"""Who takes part in which play of a run that is about some hosts only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.ansible.conftest import ANSIBLE

GROUPS = {"control_plane": ["cp-1", "cp-2"], "worker": ["cp-1", "w-1", "w-2"], "load_balancer": ["lb-1"]}
EVERYBODY = ["cp-1", "cp-2", "lb-1", "w-1", "w-2"]
ALWAYS = {
    "Nodes that left": ["cp-1"],
    "Names and firewalls": EVERYBODY,
    "Load balancers": ["lb-1"],
    "Nodes": ["cp-1"],
}
"""Plays whose roles depend on who is in the inventory."""

ITSELF = ("Operating systems", "Container runtimes and kubelets")
"""Plays about a host alone."""


def _members(changed: list[str], tmp_path: Path) -> dict[str, list[str]]:
    """The hosts of each play of site.yml that has some, by its name."""
    groups = {**GROUPS, "nvidia": ["w-1"]}
    hosts = tmp_path / "hosts.json"
    hosts.write_text(
        json.dumps({"all": {"children": {name: {"hosts": dict.fromkeys(of)} for name, of in groups.items()}}})
    )
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(hosts)])
    inventory.add_group("changed")
    known = {"isthmus_changed_hosts": changed, "groups": groups}
    for host in Templar(loader=loader, variables=known).template(trust_as_template(_told()["loop"])):
        inventory.add_host(host, "changed")
    inventory.clear_caches()
    plays: list[dict[str, Any]] = yaml.safe_load((ANSIBLE / "site.yml").read_text())
    of = {play["name"]: sorted(host.name for host in inventory.get_hosts(play["hosts"])) for play in plays[1:]}
    return {name: members for name, members in of.items() if members}


def _told() -> dict[str, Any]:
    """The task that makes the group."""
    plays = yaml.safe_load((ANSIBLE / "preflight.yml").read_text())
    (task,) = [task for play in plays for task in play["tasks"] if "ansible.builtin.add_host" in task]
    assert task["ansible.builtin.add_host"] == {"name": "{{ item }}", "groups": "changed"}
    return task


@pytest.mark.parametrize(
    ("changed", "also"),
    [
        (["w-2"], (*ITSELF, "Images of kubeadm", "Workers", "Images of pods")),
        (["w-1"], (*ITSELF, "Images of kubeadm", "GPUs", "Workers", "Images of pods")),
        (["lb-1"], (*ITSELF, "Images of kubeadm")),
    ],
    ids=["a worker", "a worker with a GPU", "a load balancer"],
)
def test_of_the_other_hosts_only_those_plays_are_that_depend_on_who_is_there(
    changed: list[str], also: tuple[str, ...], tmp_path: Path
) -> None:
    assert _members(changed, tmp_path) == ALWAYS | dict.fromkeys(also, changed)


def test_one_control_plane_concerns_all_of_them(tmp_path: Path) -> None:
    found = _members(["cp-2"], tmp_path)
    both = ["cp-1", "cp-2"]
    assert found == ALWAYS | dict.fromkeys((*ITSELF, "Images of kubeadm", "Control planes", "Images of pods"), both)


def test_without_a_reason_to_leave_one_out_every_host_is_in_every_play_of_its_groups(tmp_path: Path) -> None:
    found = _members(EVERYBODY, tmp_path)
    assert found["Operating systems"] == EVERYBODY
    assert found["Control planes"] == ["cp-1", "cp-2"]
    assert found["Workers"] == ["w-1", "w-2"]
    assert found["GPUs"] == ["w-1"]
