"""What a joining host left in the cluster goes before it joins, and nobody else's; with programs that note it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.ansible.conftest import ANSIBLE

PROGRAM = """\
#!/bin/sh
case "$*" in *"member list"*) cat {folder}/members ;; *) echo "$*" >> {folder}/told ;; esac
"""
HOSTS = {"one": "10.0.0.1", "two": "10.0.0.2", "three": "10.0.0.3", "twelve": "10.0.0.12"}
JOIN = ANSIBLE / "roles" / "kubeadm_control_plane" / "tasks" / "join.yml"


def forgotten(folder: Path, *, members: str, limit: str = "all") -> tuple[set[str], set[str]]:
    """Nodes and members of etcd that join.yml has forgotten; `members`: the hosts that say that they are."""
    for name in ("kubectl", "etcdctl"):
        (folder / name).write_text(PROGRAM.format(folder=folder))
        (folder / name).chmod(0o755)
    lines = (f"id-{name}, started, {name}, https://{at}:2380, https://{at}:2379, false\n" for name, at in HOSTS.items())
    (folder / "members").write_text("".join(lines))
    (folder / "told").write_text("")
    (prepare, *_) = yaml.safe_load(JOIN.read_text())
    forget = next(task for task in prepare["block"] if task.get("ansible.builtin.include_tasks") == "forget.yml")
    role = {"name": "kubeadm_control_plane", "tasks_from": "forget", "rolespec_validate": False, "public": True}
    state = "{{ {'stdout_lines': ['member'] if inventory_hostname in members else []} }}"
    tasks = [
        {"ansible.builtin.include_vars": {"file": str(JOIN.parents[1] / "vars" / "main.yml")}},
        {"ansible.builtin.set_fact": {"__kubeadm_control_plane_state": state}},
        {"ansible.builtin.include_role": role, "vars": forget["vars"], "when": forget["when"][0]},
    ]
    variables = {
        "members": members.split(),
        "kubeadm_control_plane_hosts": HOSTS,
        "kubeadm_control_plane_bin_dir": str(folder),
        "ansible_python_interpreter": sys.executable,
    }
    play = {"hosts": "all", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}
    (folder / "play.yml").write_text(json.dumps([play]))
    environment = os.environ | {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(folder)}
    ansible = Path(sys.executable).parent / "ansible-playbook"
    command = [ansible, "-i", ",".join(HOSTS) + ",", "--limit", limit, folder / "play.yml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = (folder / "told").read_text()
    nodes = re.findall(r"delete node (.*) --ignore-not-found", told)
    return {name for names in nodes for name in names.split()}, set(re.findall(r"member remove id-(\S+)", told))


def test_who_joins_is_forgotten_and_no_member_is(tmp_path: Path) -> None:
    assert forgotten(tmp_path, members="one twelve") == ({"two", "three"}, {"two", "three"})


def test_a_host_that_was_not_asked_is_not_forgotten(tmp_path: Path) -> None:
    """It may be a member that is well."""
    assert forgotten(tmp_path, members="one three twelve", limit="one,two,twelve") == ({"two"}, {"two"})
    assert forgotten(tmp_path, members="one three twelve", limit="one,twelve") == (set(), set())
