"""What the plays give each role is what its argument spec asks for, by Ansible's own check, which runs leave out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra import inventory, nodes
from infra.environment import Environment
from ops.up import load
from tests.ansible.conftest import ANSIBLE, ROLES, role_yaml
from tests.ansible.test_preflight import PROBE
from tests.ansible.test_site_link import KEYS, SITE
from tests.infra import recording

ENTRIES = {
    (role.name, entry) for role in ROLES for entry in role_yaml(role.name, "meta/argument_specs.yml")["argument_specs"]
}


def _checked(play: str, environment: Environment, folder: Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    """The play with nothing but its checks of arguments; those are tagged `always`."""
    onprem = environment.onprem
    addresses = {host.name: str(host.address) for host in onprem.hosts}
    hosts = inventory.inventory(onprem, dict.fromkeys(addresses, "ssh-ed25519 AAAA"), nodes.nvidia_hosts(environment))
    hosts["all"]["children"]["changed"] = {"hosts": {name: {} for name in addresses}}
    hosts["all"]["hosts"]["gone"] = {}
    for group in ("left", "was_worker", "was_load_balancer"):
        hosts["all"]["children"][group] = {"hosts": {"gone": {}}}
    for host in hosts["all"]["hosts"].values():
        host["ansible_connection"] = "local"
    found = PROBE | {"missing_packages": [], "images": [], "cgroup": 2, "kernel_config": True, "sys_resource": True}
    told = {
        **inventory.variables("onprem", onprem, environment.kubernetes.version, recording.index()),
        "isthmus_changed_hosts": list(addresses),
        "isthmus_outputs": str(folder),
        # what Ansible finds out while it runs
        "preflight_few": False,
        "preflight_all_cgroup_2": True,
        "preflight_host": found,
        "preflight_kubeadm_ignores": [],
        "site_hosts": addresses,
        "link": {name.removeprefix("site_link_"): value for name, value in SITE.items()} | {"initiate": True},
        "link_preshared_keys": KEYS,
        "link_host": {"stdout_lines": ["eth0", "strongswan-swanctl"]},
    }
    (folder / "hosts.json").write_text(json.dumps(hosts))
    (folder / "told.json").write_text(json.dumps(told | changes))
    settings = {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(folder / "tmp")}
    settings["ANSIBLE_SKIP_TAGS"] = "none"
    command = [Path(sys.executable).parent / "ansible-playbook", ANSIBLE / play, "--tags", "none"]
    inventories = ["-i", ANSIBLE / "inventory", "-i", folder / "hosts.json", "-e", f"@{folder / 'told.json'}"]
    return subprocess.run(
        [*command, *inventories], env=os.environ | settings, capture_output=True, text=True, check=False
    )


def _entries(answer: subprocess.CompletedProcess[str]) -> set[tuple[str, str]]:
    return set(
        re.findall(r"^TASK \[(\w+) : Validating arguments against arg spec '(\w+)'", answer.stdout, re.MULTILINE)
    )


def _of(*roles: str) -> set[tuple[str, str]]:
    return {(role, entry) for role, entry in ENTRIES if role in roles}


@pytest.mark.parametrize(
    ("name", "not_there"), [("local", _of("nvidia") | {("kubeadm_worker", "main")}), ("prod", set())]
)
def test_what_a_site_gives_its_roles_is_what_they_ask_for(
    name: str, not_there: set[tuple[str, str]], tmp_path: Path
) -> None:
    answer = _checked("site.yml", load(name), tmp_path)
    assert answer.returncode == 0, answer.stdout
    assert _entries(answer) == ENTRIES - _of("site_link") - not_there


def test_what_a_link_gives_its_role_is_what_it_asks_for(tmp_path: Path) -> None:
    answer = _checked("link.yml", load("local"), tmp_path)
    assert answer.returncode == 0, answer.stdout
    assert _entries(answer) == {("site_link", "main")}


def test_what_a_role_cannot_take_is_named(tmp_path: Path) -> None:
    answer = _checked("site.yml", load("local"), tmp_path, api_port="many")
    assert answer.returncode != 0
    assert "load_balancer_api_port" in answer.stdout


def test_a_run_leaves_these_checks_out(tmp_path: Path) -> None:
    """A process for each role of each host, in every run."""
    settings = os.environ | {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(tmp_path)}
    listed = subprocess.run(
        [
            Path(sys.executable).parent / "ansible-playbook",
            "--list-tasks",
            "-i",
            ANSIBLE / "inventory",
            ANSIBLE / "site.yml",
        ],
        env=settings,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Validating arguments" not in listed.stdout
    assert "kubeadm_worker : Join" in listed.stdout


def test_nothing_of_ours_has_the_tag_that_runs_leave_out() -> None:
    plays = [path.read_text() for path in sorted(ANSIBLE.rglob("*.yml")) if "collections" not in path.parts]
    assert "import_role" in "".join(plays)
    assert not re.findall(r"^.*\btags:[^#]*\balways\b|^\s*- always$", "\n".join(plays), re.MULTILINE)
