"""The names stand between marks in /etc/hosts, whose other lines are somebody else's; with a file of the test's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.ansible.conftest import ANSIBLE, ROLES

PATH = "path: /etc/hosts\n"
THEIRS = "127.0.0.1 localhost\n127.0.1.1 one.example.org one\n10.9.9.9 licences # of the owners\n"


def play(folder: Path, names: dict[str, str]) -> str:
    """What ansible printed of a run of the role; its file is `hosts` in the folder."""
    (role,) = [role for role in ROLES if role.name == "host_names"]
    ours = folder / "roles" / "host_names"
    shutil.copytree(role, ours, dirs_exist_ok=True)
    tasks = ours / "tasks" / "main.yml"
    assert tasks.read_text().count(PATH) == 1
    tasks.write_text(tasks.read_text().replace(PATH, f"path: {folder / 'hosts'}\n"))
    whole = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "roles": [{"role": "host_names", "host_names_hosts": names}],
    }
    (folder / "play.yml").write_text(json.dumps([whole]))
    settings = {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_ROLES_PATH": str(folder / "roles")}
    ansible = Path(sys.executable).parent / "ansible-playbook"
    command = [ansible, "-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}", folder / "play.yml"]
    return subprocess.run(
        command,
        env=os.environ | settings | {"ANSIBLE_LOCAL_TEMP": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_the_lines_of_the_hosts_owners_stay(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(THEIRS)
    assert "changed=1" in play(tmp_path, {"one": "10.0.0.11", "two": "10.0.0.12"})
    after = hosts.read_text()
    assert after.startswith(THEIRS)
    assert "10.0.0.11 one\n10.0.0.12 two\n" in after
    hosts.write_text(f"{after}10.9.9.8 added # after ours\n")
    assert "changed=1" in play(tmp_path, {"two": "10.0.0.12"})
    last = hosts.read_text()
    assert last.startswith(THEIRS) and last.endswith("10.9.9.8 added # after ours\n")
    assert "10.0.0.11" not in last and "10.0.0.12 two\n" in last
    assert "changed=0" in play(tmp_path, {"two": "10.0.0.12"})
