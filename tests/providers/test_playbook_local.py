"""The Playbook resource with the real ansible against this machine itself (connection local): no lab, a few seconds."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.paths import ROOT
from infra.providers.isthmus import processes
from infra.providers.isthmus.handler import UNKNOWN, Context, PartialFailure, ResourceError
from infra.providers.isthmus.playbook import Playbook

HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}

SECRET = "b7f1d0c2-never-to-be-shown"

PLAY = """
- name: Configure
  hosts: all
  gather_facts: false
  tasks:
    - name: Write the greeting
      ansible.builtin.copy:
        dest: "{{ target }}/greeting"
        content: "{{ greeting }}\\n"
        mode: "0644"
    - name: Write the token
      ansible.builtin.copy:
        dest: "{{ target }}/{{ item }}"
        content: "{{ api_token }}"
        mode: "0600"
      loop: [token]
      no_log: true
    - name: Stop where the test says so
      ansible.builtin.command: "{{ stopper | default('true') }}"
      changed_when: false
    - name: Hand the kubeconfig back
      ansible.builtin.copy:
        dest: "{{ isthmus_outputs }}/kubeconfig"
        content: "server of {{ greeting }}"
        mode: "0600"
      when: hand_back | default(true)
      delegate_to: localhost
      no_log: true
"""

RESET = """
- name: Reset
  hosts: all
  gather_facts: false
  tasks:
    - name: Remove the greeting
      ansible.builtin.file:
        path: "{{ target }}/greeting"
        state: absent
"""


class Spoken:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, kind: str) -> Any:
        return lambda message: self.lines.append((kind, message))

    @property
    def text(self) -> str:
        return "\n".join(message for _kind, message in self.lines)


def context(log: Spoken | None = None, cancelled: threading.Event | None = None) -> Context:
    urn = "urn:pulumi:test::isthmus::isthmus:ansible:Playbook::site"
    return Context(urn=urn, preview=False, log=log or Spoken(), cancelled=cancelled or threading.Event())  # type: ignore[arg-type]


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "ansible"
    folder.mkdir()
    (folder / "site.yml").write_text(PLAY)
    (folder / "reset.yml").write_text(RESET)
    (folder / "ansible.cfg").write_text("[connection]\npipelining = true\n")
    target = tmp_path / "target"
    target.mkdir()
    return {
        "playbook": "site.yml",
        "folder": str(folder),
        "inventory": {"control_plane": {"hosts": {"here": HERE}}, "worker": {"hosts": {}}},
        "variables": {"target": str(target), "greeting": "hello", "api_token": SECRET},
        "roles_digest": "sha256:1",
        "outputs": ["kubeconfig"],
        "private_key_path": str(tmp_path / "key"),
        "work_dir": str(tmp_path / "work"),
        "timeout_s": 120,
        "check_on_diff": False,
        "reset_allowed": False,
        "reset_playbook": "reset.yml",
    }


def converged(inputs: dict[str, Any]) -> dict[str, Any]:
    """The state after a good run, without the seconds that one takes."""
    target = Path(inputs["variables"]["target"])
    (target / "greeting").write_text("hello\n")
    (target / "token").write_text(SECRET)
    (target / "greeting").chmod(0o644)
    (target / "token").chmod(0o600)
    results = {"kubeconfig": "server of hello"}
    return {**inputs, "results": results, "summary": "", "completed": True, "drift": []}


def left_over(inputs: dict[str, Any]) -> list[Path]:
    return list(Path(inputs["work_dir"]).glob("run-*"))


def test_create_applies_streams_and_hands_results_back(inputs: dict[str, Any]) -> None:
    log = Spoken()
    rid, state = Playbook().create(context(log), inputs)
    assert rid == "site"
    assert (Path(inputs["variables"]["target"]) / "greeting").read_text() == "hello\n"
    assert state["results"] == {"kubeconfig": "server of hello"}
    assert state["completed"] is True
    assert "here ok=4 changed=3 failed=0" in state["summary"]
    kinds = {kind for kind, message in log.lines if "task: Write the greeting" in message}
    assert kinds == {"status"}, "the task that runs is progress, not a line to keep"
    assert any(kind == "info" and "changed: here: Write the greeting" in message for kind, message in log.lines)
    assert any(kind == "info" and "play: Configure" in message for kind, message in log.lines)
    assert any(kind == "info" and "changed: here: Write the token" in message for kind, message in log.lines), (
        "a no_log task that changed counts too, although its result is hidden"
    )
    # With the same inputs nothing differs, and a second run finds nothing to do.
    assert Playbook().diff(context(), rid, state, inputs) == []
    again = Playbook().update(context(), rid, state, inputs)
    assert "changed=1 " in again["summary"], "only the output file, which is made anew in each run's own folder"


def test_secrets_are_nowhere_but_where_the_play_put_them(
    inputs: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = Spoken()
    # The worst case: a task without no_log that shows the value in its error.
    inputs["variables"]["stopper"] = f"ls /nowhere/{SECRET}"
    with pytest.raises(PartialFailure) as failure:
        Playbook().create(context(log), inputs)
    seen = log.text + str(failure.value) + "".join(capfd.readouterr())
    assert "[secret]" in seen, "the error must have been there to be filtered"
    assert SECRET not in seen
    allowed = Path(inputs["variables"]["target"])
    holders = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert [path for path in holders if allowed not in path.parents] == []
    assert left_over(inputs) == []


def test_files_of_a_run_are_private_and_no_secret_is_on_a_command_line(inputs: dict[str, Any]) -> None:
    inputs["variables"]["stopper"] = "sleep 3"
    worker = threading.Thread(target=Playbook().create, args=(context(), inputs))
    worker.start()
    files: dict[Path, int] = {}
    command_lines = ""
    while worker.is_alive():
        for folder in left_over(inputs):
            # os.walk passes over a folder of Ansible's that is gone by the time it comes there; rglob fails on one.
            inside = [Path(at, name) for at, folders, names in os.walk(folder) for name in (*folders, *names)]
            for path in [folder, *inside]:
                try:
                    files[path] = stat.S_IMODE(path.stat().st_mode)
                except FileNotFoundError:
                    continue
        for pid in processes.descendants(os.getpid()):
            try:
                command_lines += Path(f"/proc/{pid}/cmdline").read_text()
            except OSError:
                continue
        time.sleep(0.1)
    worker.join()
    held = {path.name: mode for path, mode in files.items()}
    assert {"inventory.json", "extravars", "known_hosts"} <= held.keys(), "the test must have seen the run's files"
    assert held["extravars"] == held["inventory.json"] == 0o600
    assert [path for path, mode in files.items() if path.name.startswith("run-") and mode != 0o700] == []
    assert "ansible-playbook" in command_lines
    assert SECRET not in command_lines


def test_a_failed_task_leaves_a_state_that_the_next_up_continues_from(inputs: dict[str, Any]) -> None:
    broken = {**inputs, "variables": {**inputs["variables"], "stopper": "ls /nowhere"}}
    with pytest.raises(PartialFailure) as failure:
        Playbook().create(context(), broken)
    message = str(failure.value)
    assert "here: failed in task 'Stop where the test says so'" in message
    assert "No such file or directory" in message
    assert str(Path(inputs["work_dir"]) / "site.log") in message
    assert "\n" not in message
    assert failure.value.rid == "site"
    state = failure.value.state
    assert state["completed"] is False
    assert [change.path for change in Playbook().diff(context(), "site", state, broken)] == ["completed"]
    finished = Playbook().update(context(), "site", state, inputs)
    assert finished["completed"] is True
    assert finished["results"] == {"kubeconfig": "server of hello"}


def test_check_mode_diff_lists_exactly_what_was_edited(inputs: dict[str, Any]) -> None:
    wanted = {**inputs, "check_on_diff": True, "outputs": []}
    wanted["variables"] = {**inputs["variables"], "hand_back": False}
    state = converged(wanted)
    assert Playbook().diff(context(), "site", state, wanted) == [], "check mode finds nothing after a converge"
    greeting = Path(inputs["variables"]["target"]) / "greeting"
    greeting.write_text("edited by hand\n")
    (change,) = Playbook().diff(context(), "site", state, wanted)
    assert change.path == 'hosts.here["Write the greeting"]'
    assert "-edited by hand" in change.detail
    assert "+hello" in change.detail
    assert greeting.read_text() == "edited by hand\n", "a diff changes nothing"
    # A hidden task tells that it would change, but not what.
    (greeting.parent / "token").write_text("old")
    changes = Playbook().diff(context(), "site", state, wanted)
    assert [change.path for change in changes] == ['hosts.here["Write the greeting"]', 'hosts.here["Write the token"]']
    assert changes[1].detail == "would change; no diff to show"
    assert SECRET not in repr(changes)


def test_a_refresh_reports_drift_and_the_next_up_repairs_it(inputs: dict[str, Any]) -> None:
    inputs["variables"]["hand_back"] = False
    inputs["outputs"] = []
    state = converged(inputs)
    assert Playbook().read(context(), "site", state) == state, "nothing drifted, nothing changes"
    greeting = Path(inputs["variables"]["target"]) / "greeting"
    greeting.write_text("edited by hand\n")
    log = Spoken()
    drifted = Playbook().read(context(log), "site", state)
    assert drifted is not None
    assert drifted["drift"] == ["here: Write the greeting"]
    assert any(kind == "warning" and "drift: here: Write the greeting" in message for kind, message in log.lines)
    assert [change.path for change in Playbook().diff(context(), "site", drifted, inputs)] == ["drift"]
    repaired = Playbook().update(context(), "site", drifted, inputs)
    assert repaired["drift"] == []
    assert greeting.read_text() == "hello\n"


def test_an_update_without_the_output_keeps_the_old_value(inputs: dict[str, Any]) -> None:
    state = converged(inputs)
    later = {**inputs, "variables": {**inputs["variables"], "hand_back": False, "greeting": "goodbye"}}
    assert Playbook().update(context(), "site", state, later)["results"] == {"kubeconfig": "server of hello"}
    with pytest.raises(PartialFailure, match="wrote no file kubeconfig"):
        Playbook().create(context(), later)


def test_a_play_is_told_which_hosts_the_run_is_about(inputs: dict[str, Any]) -> None:
    play = "- hosts: '{{ isthmus_changed_hosts }}'\n  gather_facts: false\n  tasks: [{ansible.builtin.ping: }]\n"
    (Path(inputs["folder"]) / "site.yml").write_text(play)
    inputs["outputs"] = []
    rid, state = Playbook().create(context(), inputs)
    assert state["summary"].startswith("here ok=1 ")
    wider = {**inputs, "inventory": {**inputs["inventory"], "worker": {"hosts": {"there": HERE}}}}
    assert Playbook().update(context(), rid, state, wider)["summary"].startswith("there ok=1 ")
    undone = {**state, "completed": False}
    assert "here ok=1 " in Playbook().update(context(), rid, undone, wider)["summary"], "what was not finished is whole"


def test_an_input_that_hosts_never_see_is_recorded_without_a_run(inputs: dict[str, Any]) -> None:
    state = converged(inputs)
    log = Spoken()
    allowed = {**inputs, "reset_allowed": True}
    assert [change.path for change in Playbook().diff(context(), "site", state, allowed)] == ["reset_allowed"]
    updated = Playbook().update(context(log), "site", state, allowed)
    assert updated["reset_allowed"] is True
    assert log.lines == []


def test_delete_is_refused_while_the_environment_protects_the_hosts(inputs: dict[str, Any]) -> None:
    state = converged(inputs)
    greeting = Path(inputs["variables"]["target"]) / "greeting"
    with pytest.raises(ResourceError, match=r"refused to reset here.*`onprem.reset_allowed: true`"):
        Playbook().delete(context(), "site", state)
    assert greeting.exists()
    Playbook().delete(context(), "site", {**state, "reset_allowed": True})
    assert not greeting.exists()


def test_nothing_runs_on_hosts_that_are_still_unknown(inputs: dict[str, Any]) -> None:
    inputs["check_on_diff"] = True
    state = converged(inputs)
    log = Spoken()
    inputs["variables"] = {**inputs["variables"], "greeting": UNKNOWN}
    (change,) = Playbook().diff(context(log), "site", state, inputs)
    assert (change.path, log.lines) == ("variables.greeting", [])


def test_a_playbook_that_does_not_parse_is_one_readable_error(inputs: dict[str, Any]) -> None:
    (Path(inputs["folder"]) / "site.yml").write_text("- hosts: all\n  taskss: []\n")
    with pytest.raises(PartialFailure, match=r"ansible stopped: .*'taskss' is not a valid attribute") as failure:
        Playbook().create(context(), inputs)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("reason", ["timeout", "cancel"])
def test_a_run_that_must_end_ends_with_all_of_its_processes(
    inputs: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # what its modules cannot remove any more goes with the test
    inputs["variables"]["stopper"] = "sleep 4711"
    inputs["timeout_s"] = 5 if reason == "timeout" else 600
    cancelled = threading.Event()
    if reason == "cancel":
        threading.Thread(target=_then, args=(_sleepers, cancelled.set)).start()
    before = set(processes.descendants(os.getpid()))
    expected = "limit of 5 s" if reason == "timeout" else "it was cancelled"
    with pytest.raises(PartialFailure, match=expected):
        Playbook().create(context(cancelled=cancelled), inputs)
    assert _sleepers() == []
    assert set(processes.descendants(os.getpid())) <= before
    assert left_over(inputs) == []


def test_ansible_ends_when_its_provider_is_killed(inputs: dict[str, Any], tmp_path: Path) -> None:
    inputs["variables"]["stopper"] = "sleep 4711"
    script = (
        "import json, sys, tests.providers.test_playbook_local as here\n"
        "here.Playbook().create(here.context(), json.load(sys.stdin))"
    )
    settings = {**os.environ, "TMPDIR": str(tmp_path)}  # what it cannot remove any more goes with the test
    command = [sys.executable, "-c", script]
    provider = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, env=settings, text=True)
    assert provider.stdin is not None
    provider.stdin.write(json.dumps(inputs))
    provider.stdin.close()
    assert _await(_sleepers), "it must have been at work"
    provider.kill()
    provider.wait()
    assert _await(lambda: not _sleepers(), patience_s=30)


def test_what_a_killed_run_left_behind_is_removed_by_the_next(inputs: dict[str, Any], tmp_path: Path) -> None:
    stale = Path(inputs["work_dir"]) / "run-999999999-1-abcd1234"
    (stale / "env").mkdir(parents=True)
    (stale / "env" / "extravars").write_text(SECRET)
    # The provider was killed, but its ansible goes on.
    orphan = subprocess.Popen(["sleep", "4712"])
    (stale / "ansible.pid").write_text(f"{orphan.pid} {processes.start_time(orphan.pid)}")
    sockets = tmp_path / "sockets"
    sockets.mkdir()
    (stale / "sockets").symlink_to(sockets)
    own = processes.start_time(os.getpid())
    alive = Path(inputs["work_dir"]) / f"run-{os.getpid()}-{own}-abcd1234"
    alive.mkdir()
    Playbook().create(context(), inputs)
    assert left_over(inputs) == [alive], "the folder of a run that is still going on stays"
    assert orphan.wait(timeout=5) != 0
    assert not sockets.exists()


def _sleepers() -> list[Path]:
    return [path for path in Path("/proc").glob("[0-9]*/cmdline") if _read(path).startswith(b"sleep\x004711")]


def _then(condition: Callable[[], object], action: Callable[[], None]) -> None:
    _await(condition)
    action()


def _await(condition: Callable[[], object], patience_s: float = 120) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
