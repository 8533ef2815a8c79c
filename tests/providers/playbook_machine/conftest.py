"""What the tests of the Playbook resource over ssh share: a machine for each module, that boots systemd and sshd."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.artifacts import ArtifactError, Index
from infra.providers.isthmus import processes
from infra.providers.isthmus.handler import Context
from infra.providers.isthmus.log import EngineLog
from infra.providers.isthmus.machine import Machine
from infra.providers.isthmus.podman import Podman

ADDRESS, NOBODY = "10.92.0.11", "10.92.0.99"
SECRET = "0d9c8b7a-never-to-be-shown"

SITE = """
- name: Configure
  hosts: all
  gather_facts: false
  tasks:
    - name: Make the folder
      ansible.builtin.file:
        path: /etc/isthmus-test
        state: directory
        mode: "0755"
    - name: Write the settings
      ansible.builtin.copy:
        dest: /etc/isthmus-test/settings
        content: "size = {{ size }}\\n"
        mode: "0644"
    - name: Write the token
      ansible.builtin.copy:
        dest: /etc/isthmus-test/token
        content: "{{ api_token }}"
        mode: "0600"
      no_log: true
    - name: Start the service
      ansible.builtin.command: "{{ service | default('true') }}"
      changed_when: false
    - name: Fetch the kubeconfig
      ansible.builtin.fetch:
        src: /etc/isthmus-test/settings
        dest: "{{ isthmus_outputs }}/kubeconfig"
        flat: true
      when: not ansible_check_mode
      changed_when: false
"""

RESET = """
- name: Reset
  hosts: all
  gather_facts: false
  tasks:
    - name: Remove the folder
      ansible.builtin.file:
        path: /etc/isthmus-test
        state: absent
"""


class Spoken(EngineLog):
    """A log that remembers."""

    def __init__(self) -> None:
        object.__setattr__(self, "lines", [])

    def _send(self, severity: Any, message: str, *, ephemeral: bool = False) -> None:  # noqa: ARG002
        self.lines.append(message)  # type: ignore[attr-defined]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)  # type: ignore[attr-defined]


def context(log: EngineLog | None = None) -> Context:
    return Context(urn="urn::playbook::site", preview=False, log=log or Spoken(), cancelled=threading.Event())


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="module")
def machine(key: Path) -> Iterator[dict[str, Any]]:
    """A machine on a network of its own; its state as the Machine resource gives it."""
    try:
        image = Index.load().artifact("machine")
    except ArtifactError as error:
        pytest.fail(f"these tests boot the lab's machine image: {error}")
    for stale in Path(tempfile.gettempdir()).glob("isthmus-playbook-*-*"):
        if processes.start_time(int(stale.name.split("-")[2])) is None:
            remove(stale)  # its tests were killed, and its network would be in the way
    store = Path(tempfile.mkdtemp(prefix=f"isthmus-playbook-{os.getpid()}-"))
    podman = podman_of(store)
    handler = Machine(podman)
    inputs = {
        "hostname": "playbook-test",
        "network": "playbook-test",
        "address": ADDRESS,
        "image": str(image.local),
        "image_digest": image.digest,
        "authorized_key": key.with_suffix(".pub").read_text(),
        "disks": {},
        "checkout": str(store),
        "environment": "test",
    }
    try:
        podman("network", "create", "--driver", "bridge", "--subnet", "10.92.0.0/24", "--disable-dns", "playbook-test")
        _rid, state = handler.create(context(), inputs)
        yield {**state, "podman": podman}
    finally:
        remove(store)


def podman_of(store: Path) -> Podman:
    return Podman(root=store / "podman", run=store / "run")


def remove(store: Path) -> None:
    podman = podman_of(store)
    Machine(podman).delete(context(), "playbook-test", {})
    podman("network", "rm", "--force", "playbook-test")
    podman("rmi", "--all", "--force")
    shutil.rmtree(store, ignore_errors=True)


@pytest.fixture
def inputs(machine: dict[str, Any], key: Path, tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "ansible"
    folder.mkdir()
    (folder / "site.yml").write_text(SITE)
    (folder / "reset.yml").write_text(RESET)
    (folder / "ansible.cfg").write_text(
        "[defaults]\ninterpreter_python = /usr/bin/python3\n[ssh_connection]\npipelining = true\nretries = 2\n"
    )
    machine["podman"].execute("playbook-test", "rm", "-rf", "/etc/isthmus-test")
    return {
        "playbook": "site.yml",
        "folder": str(folder),
        "inventory": {"all": {"hosts": {"node-1": host(machine["host_key"])}}},
        "variables": {"size": "3", "api_token": SECRET},
        "roles_digest": "sha256:1",
        "outputs": ["kubeconfig"],
        "private_key_path": str(key),
        "work_dir": str(tmp_path / "work"),
        "timeout_s": 120,
        "check_on_diff": False,
        "reset_allowed": True,
        "reset_playbook": "reset.yml",
    }


def host(host_key: str, address: str = ADDRESS, user: str = "root") -> dict[str, Any]:
    return {"ansible_host": address, "ansible_port": 22, "ansible_user": user, "host_key": host_key}


def on_machine(machine: dict[str, Any], *command: str) -> str:
    return machine["podman"].execute("playbook-test", *command)
