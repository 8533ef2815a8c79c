"""The Playbook resource over ssh, against one throwaway machine that boots systemd and sshd."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.artifacts import ArtifactError, Index
from infra.onprem.cluster import FOLDER
from infra.providers.isthmus import processes
from infra.providers.isthmus.handler import Context, PartialFailure
from infra.providers.isthmus.log import EngineLog
from infra.providers.isthmus.machine import Machine
from infra.providers.isthmus.playbook import Playbook
from infra.providers.isthmus.podman import Podman

pytestmark = pytest.mark.machine

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


def test_create_no_op_change_drift_and_delete(machine: dict[str, Any], inputs: dict[str, Any]) -> None:
    log = Spoken()
    rid, state = Playbook().create(context(log), inputs)
    assert on_machine(machine, "cat", "/etc/isthmus-test/settings") == "size = 3\n"
    assert on_machine(machine, "cat", "/etc/isthmus-test/token") == SECRET
    assert state["results"] == {"kubeconfig": "size = 3\n"}
    assert "node-1 ok=5 changed=3 failed=0 unreachable=0" in state["summary"]

    assert Playbook().diff(context(log), rid, state, inputs) == []
    looking = {**inputs, "check_on_diff": True}
    assert Playbook().diff(context(log), rid, state, looking) == [], "check mode finds nothing after a converge"
    again = Playbook().update(context(log), rid, state, looking)
    assert "node-1 ok=5 changed=0 failed=0" in again["summary"]

    wanted = {**looking, "variables": {**inputs["variables"], "size": "5"}}
    changes = {change.path: change.detail for change in Playbook().diff(context(log), rid, again, wanted)}
    assert changes.keys() == {"variables.size", 'hosts.node-1["Write the settings"]'}
    assert changes["variables.size"] == '"3" -> "5"'
    assert "-size = 3\n+size = 5" in changes['hosts.node-1["Write the settings"]']
    changed = Playbook().update(context(log), rid, again, wanted)
    assert on_machine(machine, "cat", "/etc/isthmus-test/settings") == "size = 5\n"

    on_machine(machine, "sh", "-c", "echo broken > /etc/isthmus-test/settings")
    (change,) = Playbook().diff(context(log), rid, changed, wanted)
    assert change.path == 'hosts.node-1["Write the settings"]', "exactly the file that was edited"
    drifted = Playbook().read(context(log), rid, changed)
    assert drifted is not None
    assert drifted["drift"] == ["node-1: Write the settings"]

    Playbook().delete(context(log), rid, drifted)
    assert "isthmus-test" not in on_machine(machine, "ls", "/etc")
    assert "changed: node-1: Write the token" in log.text
    assert SECRET not in log.text
    journals = "".join(path.read_text() for path in Path(inputs["work_dir"]).glob("*.log"))
    assert "Write the settings" in journals
    assert SECRET not in journals


def test_another_host_key_is_refused_before_anything_is_touched(
    machine: dict[str, Any], inputs: dict[str, Any], tmp_path: Path
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    # A good run first: what it leaves open must not let the next one in past the check.
    Playbook().create(context(), inputs)
    on_machine(machine, "rm", "-rf", "/etc/isthmus-test")
    inputs["inventory"] = {"all": {"hosts": {"node-1": host((tmp_path / "other.pub").read_text())}}}
    with pytest.raises(PartialFailure) as failure:
        Playbook().create(context(), inputs)
    message = str(failure.value)
    assert "node-1: unreachable in task 'Make the folder'" in message
    assert "another ssh key than its recorded host_key" in message
    assert "\n" not in message
    assert "isthmus-test" not in on_machine(machine, "ls", "/etc")


def test_an_unreachable_host_is_named_and_does_not_block_a_reset(
    machine: dict[str, Any], inputs: dict[str, Any]
) -> None:
    inputs["inventory"]["all"]["hosts"]["node-2"] = host(machine["host_key"], NOBODY)
    with pytest.raises(PartialFailure) as failure:
        Playbook().create(context(), inputs)
    assert str(failure.value).startswith("node-2: unreachable in task 'Make the folder'")
    assert "Hint: is the machine on" in str(failure.value)
    state = failure.value.state
    assert "node-1 ok=5" in state["summary"], "the other host was configured all the same"
    log = Spoken()
    Playbook().delete(context(log), "site", state)
    assert "not reset, because unreachable: node-2" in log.text
    assert "isthmus-test" not in on_machine(machine, "ls", "/etc")


def test_a_refused_login_and_a_missing_privilege_tell_the_fix(
    machine: dict[str, Any], inputs: dict[str, Any], key: Path, tmp_path: Path
) -> None:
    on_machine(machine, "sh", "-c", "id plain 2>/dev/null || useradd -m plain; mkdir -p ~plain/.ssh")
    on_machine(machine, "sh", "-c", "cp /root/.ssh/authorized_keys ~plain/.ssh/ && chown -R plain ~plain/.ssh")
    inputs["inventory"]["all"]["hosts"]["node-1"] = host(machine["host_key"], user="plain")
    with pytest.raises(PartialFailure, match="Hint: a privilege is missing"):
        Playbook().create(context(), inputs)
    inputs["inventory"]["all"]["hosts"]["node-1"]["ansible_become"] = True
    with pytest.raises(PartialFailure, match="Hint: ansible_user may not become root"):
        Playbook().create(context(), inputs)
    stranger = tmp_path / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
    assert stranger.read_text() != key.read_text()
    with pytest.raises(PartialFailure, match="Hint: the machine does not accept our ssh key"):
        Playbook().create(context(), {**inputs, "private_key_path": str(stranger)})


def test_a_full_disk_is_told_and_the_next_run_goes_on(machine: dict[str, Any], inputs: dict[str, Any]) -> None:
    on_machine(machine, "sh", "-c", "mkdir -p /etc/isthmus-test && mount -t tmpfs -o size=16k full /etc/isthmus-test")
    try:
        full = {**inputs, "variables": {**inputs["variables"], "size": "9" * 20_000}}
        with pytest.raises(PartialFailure, match="Hint: a file system of that host is full") as failure:
            Playbook().create(context(), full)
    finally:
        on_machine(machine, "umount", "/etc/isthmus-test")
    state = failure.value.state
    assert state["completed"] is False
    assert Playbook().update(context(), "site", state, inputs)["completed"] is True
    assert on_machine(machine, "cat", "/etc/isthmus-test/settings") == "size = 3\n"


FLOATING = "10.92.0.50"
KEEPALIVED = f"""
vrrp_instance api {{
  state MASTER
  interface eth0
  virtual_router_id 51
  priority 100
  virtual_ipaddress {{
    {FLOATING}/32 dev lo scope host
  }}
}}
"""
KUBELET = "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
KUBEADM = '#!/bin/sh\necho "$@" >> /run/told\n'


@pytest.fixture
def site(machine: dict[str, Any], inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The plays of site.yml about who left, on a machine that holds an address and whose kubelet runs."""
    plays = [play for play in yaml.safe_load((FOLDER / "site.yml").read_text()) if " that left" in play["name"]]
    wanted = [play for play in plays if play["name"] != "Nodes that left"]
    assert len(wanted) == 2
    (Path(inputs["folder"]) / "site.yml").write_text(yaml.safe_dump(wanted))
    config = Path(inputs["folder"]) / "ansible.cfg"
    places = f"[defaults]\nroles_path = {FOLDER / 'roles'}\ncollections_path = {FOLDER / 'collections'}\n"
    config.write_text(config.read_text().replace("[defaults]\n", places))
    files = {
        "/etc/keepalived/keepalived.conf": KEEPALIVED,
        "/etc/systemd/system/kubelet.service": KUBELET,
        "/usr/local/bin/kubeadm": KUBEADM,
        "/etc/kubernetes/kubelet.conf": "",
        "/etc/kubernetes/isthmus/member": "",
    }
    for path, text in files.items():
        on_machine(machine, "sh", "-c", f'mkdir -p {Path(path).parent} && printf %s "$1" > {path}', "write", text)
    on_machine(machine, "chmod", "755", "/usr/local/bin/kubeadm")
    on_machine(machine, "systemctl", "daemon-reload")
    on_machine(machine, "systemctl", "enable", "--now", "--quiet", "haproxy", "keepalived", "kubelet")
    deadline = time.monotonic() + 20
    while FLOATING not in on_machine(machine, "ip", "address") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert FLOATING in on_machine(machine, "ip", "address")
    node = inputs["inventory"]["all"]["hosts"]["node-1"]
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    yield {
        **inputs,
        "outputs": [],
        "inventory": {
            "control_plane": {"hosts": {"here": here}},
            "worker": {"hosts": {"node-1": node}},
            "load_balancer": {"hosts": {"here": here, "node-1": node}},
        },
    }
    on_machine(machine, "systemctl", "disable", "--now", "--quiet", "haproxy", "keepalived", "kubelet")
    on_machine(machine, "rm", "-rf", *files, "/run/told")


def states(machine: dict[str, Any], *units: str) -> set[str]:
    """Of each unit whether it runs, and whether a boot starts it."""
    question = "systemctl is-active $@; systemctl is-enabled $@; true"
    return set(on_machine(machine, "sh", "-c", question, "states", *units).split())


def settled(site: dict[str, Any]) -> dict[str, Any]:
    return {**site, "results": {}, "summary": "", "completed": True, "drift": []}


def test_a_host_that_left_holds_no_address_and_makes_no_node_any_more(
    machine: dict[str, Any], site: dict[str, Any]
) -> None:
    everybody = site["inventory"]
    here = everybody["control_plane"]
    less = {**site, "inventory": {"control_plane": here, "worker": {"hosts": {}}, "load_balancer": here}}
    assert states(machine, "haproxy", "keepalived", "kubelet") == {"active", "enabled"}
    after = Playbook().update(context(), "site", settled(site), less)
    assert states(machine, "haproxy", "keepalived", "kubelet") == {"inactive", "disabled"}
    assert FLOATING not in on_machine(machine, "ip", "address")
    assert on_machine(machine, "cat", "/run/told").startswith("reset --force ")
    assert on_machine(machine, "find", "/etc/kubernetes", "-type", "f") == ""
    assert Playbook().diff(context(), "site", after, less) == []
    # An earlier run may not have come as far as to install anything.
    on_machine(machine, "rm", "/etc/systemd/system/kubelet.service", "/usr/local/bin/kubeadm")
    on_machine(machine, "systemctl", "daemon-reload")
    assert Playbook().update(context(), "site", settled(site), less)["completed"] is True
    on_machine(machine, "sh", "-c", f"printf '{KUBELET}' > /etc/systemd/system/kubelet.service")


def test_a_worker_that_is_no_load_balancer_any_more_stays_a_worker(
    machine: dict[str, Any], site: dict[str, Any]
) -> None:
    less = {**site, "inventory": {**site["inventory"], "load_balancer": site["inventory"]["control_plane"]}}
    Playbook().update(context(), "site", settled(site), less)
    assert states(machine, "haproxy", "keepalived") == {"inactive", "disabled"}
    assert states(machine, "kubelet") == {"active", "enabled"}
    assert on_machine(machine, "find", "/etc/kubernetes", "-name", "member") != ""


def test_a_load_balancer_that_is_no_worker_any_more_goes_on_with_the_addresses(
    machine: dict[str, Any], site: dict[str, Any]
) -> None:
    less = {**site, "inventory": {**site["inventory"], "worker": {"hosts": {}}}}
    Playbook().update(context(), "site", settled(site), less)
    assert states(machine, "haproxy", "keepalived") == {"active", "enabled"}
    assert "enabled" in states(machine, "kubelet"), "role kubernetes_node would enable it again in the next run"
    assert on_machine(machine, "cat", "/run/told").startswith("reset --force ")
    assert on_machine(machine, "find", "/etc/kubernetes", "-type", "f") == ""


def test_a_load_balancer_that_left_and_does_not_answer_is_asked_once(
    machine: dict[str, Any], site: dict[str, Any]
) -> None:
    gone = host(machine["host_key"], NOBODY)
    before = {**site["inventory"]}
    before["worker"] = {"hosts": {**before["worker"]["hosts"], "node-2": gone}}
    before["load_balancer"] = {"hosts": {**before["load_balancer"]["hosts"], "node-2": gone}}
    log = Spoken()
    after = Playbook().update(context(log), "site", settled({**site, "inventory": before}), site)
    assert (after["completed"], after["leaving"]) == (True, {})
    assert "because unreachable: node-2. Wipe them" in log.text
    assert log.text.count("node-2: unreachable in task") == 1
    assert states(machine, "haproxy", "keepalived", "kubelet") == {"active", "enabled"}


def test_no_connection_outlives_a_run(inputs: dict[str, Any]) -> None:
    Playbook().create(context(), inputs)
    deadline = time.monotonic() + 5
    while _connections() and time.monotonic() < deadline:
        time.sleep(0.1)  # a connection that was told to end needs a moment
    assert _connections() == []


def _connections() -> list[bytes]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes())
    return [line for line in lines if ADDRESS.encode() in line and line.startswith(b"ssh")]
