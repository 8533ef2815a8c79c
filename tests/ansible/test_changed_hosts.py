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

GROUPS = {"control_plane": ["cp-1", "cp-2"], "worker": ["cp-1", "w-1", "w-2"], "load_balancer": ["lb-1", "lb-2"]}
EVERYBODY = ["cp-1", "cp-2", "lb-1", "lb-2", "w-1", "w-2"]
ALWAYS = {"Firewalls": EVERYBODY, "Names": EVERYBODY, "Nodes": ["cp-1"]}
"""Plays whose roles depend on who is in the inventory, before the run's own hosts are in the cluster or at its end."""

BALANCERS_AFTER = "Load balancers of the nodes that joined"
BALANCERS = ["lb-1", "lb-2"]
ITSELF = ("Operating systems", "Container runtimes and kubelets")
"""Plays about a host alone."""


def _members(changed: list[str], tmp_path: Path, groups: dict[str, list[str]] = GROUPS) -> dict[str, list[str]]:
    """The hosts of each play of site.yml that has some, by its name."""
    groups = {**groups, "nvidia": ["w-1"]}
    hosts = tmp_path / "hosts.json"
    hosts.write_text(
        json.dumps({"all": {"children": {name: {"hosts": dict.fromkeys(of)} for name, of in groups.items()}}})
    )
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(hosts)])
    inventory.add_group("changed")
    known: dict[str, Any] = {"isthmus_changed_hosts": changed, "groups": groups}
    told = _told()
    for name, value in told["vars"].items():
        known[name] = Templar(loader=loader, variables=known).template(trust_as_template(value))
    for host in Templar(loader=loader, variables=known).template(trust_as_template(told["loop"])):
        inventory.add_host(host, "changed")
    inventory.clear_caches()
    plays: list[dict[str, Any]] = yaml.safe_load((ANSIBLE / "site.yml").read_text())
    of = {play["name"]: sorted(host.name for host in inventory.get_hosts(play["hosts"])) for play in plays[1:]}
    return {name: members for name, members in of.items() if members}


LEAVERS = ("Load balancers that left", "Workers that left")


@pytest.mark.parametrize(
    ("was", "told"),
    [
        ({}, {}),
        ({"load_balancer": ["w-2"]}, {LEAVERS[0]: ["w-2"]}),
        ({"worker": ["gone"], "load_balancer": ["gone"], "left": ["gone"]}, {name: ["gone"] for name in LEAVERS}),
        ({"worker": ["lb-1"]}, {LEAVERS[1]: ["lb-1"]}),
        ({"worker": ["cp-2"]}, {}),
        ({"control_plane": ["w-2"]}, {}),
        (
            {name: ["gone"] for name in ("control_plane", "worker", "load_balancer", "left")},
            {LEAVERS[0]: ["gone"]},
        ),
    ],
    ids=[
        "nobody",
        "a load balancer no more",
        "a worker that left",
        "a worker no more",
        "a control plane that works no more",
        "a control plane that is a worker now",
        "a control plane that left",
    ],
)
def test_who_left_is_in_the_plays_that_take_back_what_it_was_given_and_in_no_other(
    was: dict[str, list[str]], told: dict[str, list[str]], tmp_path: Path
) -> None:
    """A control plane keeps its member of etcd, whatever else it was."""
    groups = {name if name == "left" else f"was_{name}": hosts for name, hosts in was.items()}
    found = _members(EVERYBODY, tmp_path, {**GROUPS, **groups})
    assert {name: hosts for name, hosts in found.items() if name in LEAVERS} == told
    assert not [name for name, hosts in found.items() if name not in LEAVERS and "gone" in hosts]


def test_a_load_balancer_lets_go_while_the_others_hear_it_and_a_worker_once_its_node_is_gone() -> None:
    order = [play["name"] for play in yaml.safe_load((ANSIBLE / "site.yml").read_text())]
    drain, balancers, firewalls = (order.index(name) for name in ("Nodes that left", LEAVERS[0], "Firewalls"))
    assert drain < balancers < firewalls
    assert order.index("Nodes") < order.index(LEAVERS[1]), "where the cluster did not answer before, nodes go there"


def _told() -> dict[str, Any]:
    """The task that makes the group."""
    plays = yaml.safe_load((ANSIBLE / "preflight.yml").read_text())
    (task,) = [task for play in plays for task in play["tasks"] if "ansible.builtin.add_host" in task]
    assert task["ansible.builtin.add_host"] == {"name": "{{ item }}", "groups": "changed"}
    return task


@pytest.mark.parametrize(
    ("changed", "also"),
    [(["w-2"], ("Workers", "Images of pods")), (["w-1"], ("GPUs", "Workers", "Images of pods"))],
    ids=["a worker", "a worker with a GPU"],
)
def test_of_the_other_hosts_only_those_plays_are_that_depend_on_who_is_there(
    changed: list[str], also: tuple[str, ...], tmp_path: Path
) -> None:
    assert _members(changed, tmp_path) == ALWAYS | {BALANCERS_AFTER: BALANCERS} | dict.fromkeys(
        (*ITSELF, *also), changed
    )


def test_one_load_balancer_concerns_all_of_them(tmp_path: Path) -> None:
    """One that the others do not know yet, and that hears nothing of them, would take the addresses."""
    itself = dict.fromkeys((*ITSELF, "Load balancers"), BALANCERS)
    assert _members(["lb-2"], tmp_path) == ALWAYS | itself


def test_one_control_plane_concerns_all_of_them(tmp_path: Path) -> None:
    both = ["cp-1", "cp-2"]
    also = dict.fromkeys((*ITSELF, "Images of kubeadm", "Control planes", "Images of pods"), both)
    also |= {"Nodes that left": ["cp-1"], BALANCERS_AFTER: BALANCERS}
    assert _members(["cp-2"], tmp_path) == ALWAYS | also


def test_a_load_balancer_that_is_a_control_plane_concerns_all_of_both(tmp_path: Path) -> None:
    groups = {"control_plane": ["cp-1", "cp-2"], "worker": ["w-1"], "load_balancer": ["cp-2", "w-1"]}
    found = _members(["w-1"], tmp_path, groups)
    assert found["Control planes"] == ["cp-1", "cp-2"]
    assert found["Load balancers"] == ["cp-2", "w-1"]


def test_the_others_let_a_node_in_before_it_joins_and_hear_of_it_once_it_is_there() -> None:
    order = [play["name"] for play in yaml.safe_load((ANSIBLE / "site.yml").read_text())]
    joins = [order.index(name) for name in ("Control planes", "Workers")]
    assert max(order.index(name) for name in ("Firewalls", *ITSELF, "Load balancers")) < min(joins)
    assert max(joins) < min(order.index(name) for name in ("Names", BALANCERS_AFTER))


def test_without_a_reason_to_leave_one_out_every_host_is_in_every_play_of_its_groups(tmp_path: Path) -> None:
    found = _members(EVERYBODY, tmp_path)
    assert [found[name] for name in ITSELF] == [EVERYBODY, EVERYBODY]
    assert found["Load balancers"] == ["lb-1", "lb-2"]
    assert BALANCERS_AFTER not in found
    assert found["Nodes that left"] == ["cp-1"]
    assert found["Control planes"] == ["cp-1", "cp-2"]
    assert found["Workers"] == ["w-1", "w-2"]
    assert found["GPUs"] == ["w-1"]
