"""Ansible itself reads every play without complaint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.ansible.conftest import ANSIBLE


@pytest.mark.parametrize("play", ["preflight.yml", "site.yml", "reset.yml"])
def test_a_play_is_valid(play: str, tmp_path: Path) -> None:
    environment = os.environ | {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(tmp_path)}
    inventory = tmp_path / "hosts.json"
    names = ("control_plane", "worker", "load_balancer", "nvidia", "changed", "left")
    names += ("was_control_plane", "was_worker", "was_load_balancer")
    inventory.write_text(json.dumps({"all": {"children": {name: {"hosts": {"one": {}}} for name in names}}}))
    program = Path(sys.executable).parent / "ansible-playbook"
    answer = subprocess.run(
        [program, "--syntax-check", "-i", inventory, ANSIBLE / play],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "WARNING" not in answer.stderr, answer.stderr


def test_only_control_planes_wait_for_the_images_of_a_control_plane() -> None:
    (role,) = [
        role
        for play in yaml.safe_load((ANSIBLE / "site.yml").read_text())
        for role in play.get("roles", [])
        if role["role"] == "kubernetes_node"
    ]
    known = {"images": ["pause", "apiserver"], "preflight_few": False, "groups": {"control_plane": ["one"]}}
    fetched = {
        host: Templar(loader=DataLoader(), variables=known | {"inventory_hostname": host}).template(
            trust_as_template(role["kubernetes_node_images"])
        )
        for host in ("one", "two")
    }
    assert fetched == {"one": ["pause", "apiserver"], "two": []}


def test_a_host_is_closed_before_anything_runs_on_it_that_others_could_reach() -> None:
    """A member that was made anew on its disks starts its kubelet, and all that runs below, as soon as it has one."""
    plays = yaml.safe_load((ANSIBLE / "site.yml").read_text())
    roles = [role["role"] for play in plays for role in play.get("roles", [])]
    assert roles.index("host_firewall") < min(
        roles.index(role) for role in ("containerd", "kubernetes_node", "load_balancer")
    )
    assert roles.index("node_prerequisites") < roles.index("host_firewall"), "which needs packages"


def test_hosts_that_the_run_is_not_about_let_a_node_in_before_it_joins_and_hear_the_rest_afterwards() -> None:
    """A node waits for nothing else that happens on them; a balancer takes a server for well until it has looked."""
    plays = yaml.safe_load((ANSIBLE / "site.yml").read_text())[1:]
    joins = [play["name"] for play in plays].index("Workers")
    few = (":&changed", "changed", "was_load_balancer")
    before = [play for play in plays[: joins + 1] if not play["hosts"].endswith(few)]
    assert [role["role"] for play in before for role in play["roles"]] == ["host_firewall"]
    told = {role["role"] for play in plays[joins + 1 :] for role in play.get("roles", [])}
    assert told == {"host_names", "load_balancer"}
    firewall = (ANSIBLE / "roles/host_firewall/templates/firewall.nft.j2").read_text()
    open_to_all = "ip daddr {{ service.address }} tcp dport {{ service.port }} accept"
    assert open_to_all in [line.strip() for line in firewall.splitlines()]


def test_the_members_are_told_in_the_order_of_the_inventory_in_every_run() -> None:
    """Priorities of load balancers, and lines of files, follow from it: check mode would find another order."""
    plays = yaml.safe_load((ANSIBLE / "preflight.yml").read_text())
    (task,) = [
        task for play in plays for task in play["tasks"] if "site_hosts" in task.get("ansible.builtin.set_fact", {})
    ]
    hosts = [f"host-{number}" for number in range(12)]
    groups = {
        "control_plane": hosts[:6],
        "worker": [*hosts[:3], *hosts[6:9]],
        "load_balancer": [*hosts[:2], *hosts[9:]],
    }
    known = {"groups": groups, "hostvars": {host: {"ansible_host": f"address of {host}"} for host in hosts}}
    variables = known | {name: trust_as_template(text) for name, text in task["vars"].items()}
    templar = Templar(loader=DataLoader(), variables=variables)
    told = templar.template(trust_as_template(task["ansible.builtin.set_fact"]["site_hosts"]))
    assert list(told.items()) == [(host, f"address of {host}") for host in hosts]
    assert task["run_once"] is True
