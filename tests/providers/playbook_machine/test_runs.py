"""The Playbook resource over ssh: a run's life, and what goes wrong with it."""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from infra.providers.isthmus.handler import PartialFailure
from infra.providers.isthmus.playbook import Playbook
from tests.providers.playbook_machine.conftest import ADDRESS, NOBODY, SECRET, Spoken, context, host, on_machine

pytestmark = pytest.mark.machine


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
