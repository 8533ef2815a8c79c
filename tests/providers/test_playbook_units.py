"""The pure parts of the Playbook resource: events, diffs, redaction, inputs, the digest of the roles."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from infra.providers.isthmus import file_diff, playbook_inputs, processes, ssh
from infra.providers.isthmus.events import Recorder
from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.isthmus.playbook_diff import input_diff, join
from infra.providers.isthmus.redaction import Redactor, is_secret_name, secret_values
from infra.providers.isthmus.roles_digest import roles_digest
from infra.providers.isthmus.runner import ordered

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKeyOfTheHost"


class Spoken:
    """A log that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def status(self, message: str) -> None:
        self.lines.append(("status", message))

    def info(self, message: str) -> None:
        self.lines.append(("info", message))

    def warning(self, message: str) -> None:
        self.lines.append(("warning", message))


def record(*events: tuple[str, dict[str, Any]], check: bool = False, hidden: tuple[str, ...] = ()) -> Recorder:
    ticks = iter(range(1000))
    log = Spoken()
    recorder = Recorder(log=log, redact=Redactor.of(hidden), check=check, clock=lambda: float(next(ticks)))
    for kind, data in events:
        recorder({"event": kind, "event_data": data, "stdout": data.get("stdout", "")})
    return recorder


def stats(**counts: dict[str, int]) -> tuple[str, dict[str, Any]]:
    hosts = {host for group in counts.values() for host in group}
    return "playbook_on_stats", {**counts, "processed": dict.fromkeys(hosts, 1)}


def failed(host: str, task: str = "t", **res: Any) -> tuple[str, dict[str, Any]]:
    return "runner_on_failed", {"host": host, "task": task, "res": res}


# --- events


def test_progress_carries_play_task_role_and_elapsed_time() -> None:
    recorder = record(
        ("playbook_on_play_start", {"name": "Nodes"}),
        ("playbook_on_task_start", {"name": "Install", "task": "Install", "role": "containerd"}),
        ("runner_on_ok", {"host": "a", "task": "Install", "role": "containerd", "res": {"changed": True}}),
        ("runner_on_ok", {"host": "b", "task": "Install", "role": "containerd", "res": {"changed": False}}),
    )
    assert recorder.log.lines == [  # type: ignore[attr-defined]
        ("info", "[   1.0 s] play: Nodes"),
        ("status", "[   2.0 s] task: containerd : Install"),
        ("info", "[   3.0 s] changed: a: containerd : Install"),
    ]


def test_a_rescued_host_is_no_failure() -> None:
    rescued = record(failed("a", msg="join failed"), stats(ok={"a": 3}, failures={"a": 0}))
    assert rescued.failures == []
    lost = record(failed("a", msg="join failed"), stats(ok={"a": 3}, failures={"a": 1}))
    assert [failure.host for failure in lost.failures] == ["a"]


def test_an_ignored_failure_is_no_failure() -> None:
    event = ("runner_on_failed", {"host": "a", "task": "t", "res": {"msg": "no"}, "ignore_errors": True})
    assert record(event).failures == []


def test_the_failed_item_of_a_loop_says_why() -> None:
    items = [{"failed": False, "item": "one"}, {"failed": True, "item": "two", "msg": "no space left on device"}]
    (failure,) = record(failed("a", msg="One or more items failed", results=items)).failures
    assert failure.message == "no space left on device (item two)"


def test_a_command_tells_its_stderr() -> None:
    (failure,) = record(failed("a", msg="non-zero return code", rc=2, stderr="port 6443 is in use", stdout="")).failures
    assert failure.message == "non-zero return code: port 6443 is in use"


def test_what_a_module_raised_is_told_though_its_result_keeps_it_back() -> None:
    cause = "Error executing command: [Errno 7] Argument list too long"
    told = f"\x1b[0;31m[ERROR]: Task failed: Module failed: {cause}\x1b[0m"
    kind, event = failed("a", msg="Error executing command.", rc=7, exception="(traceback unavailable)")
    (failure,) = record((kind, {**event, "stdout": f"{told}\r\nOrigin: tasks/main.yml:4:7\r\n"})).failures
    assert failure.message == cause
    secret = {**event, "res": {"censored": "x", "exception": "(hidden)"}, "stdout": told}
    (failure,) = record((kind, secret)).failures
    assert "Errno" not in failure.message


def test_no_log_hides_message_diff_and_items() -> None:
    (failure,) = record(failed("a", censored="hidden by ansible")).failures
    assert "no_log" in failure.message
    hidden = {"host": "a", "task": "t", "res": {"censored": "x"}, "stdout": "\x1b[0;33mchanged: [a] => {}\x1b[0m"}
    (change,) = record(("runner_on_ok", hidden), check=True).changes
    assert change.detail == ""
    unchanged = {**hidden, "stdout": "ok: [a] => {}"}
    assert record(("runner_on_ok", unchanged), check=True).changes == []
    items = [
        {"changed": True, "censored": "x", "diff": {"before": "", "after": "topsecret"}},
        {"changed": True, "diff": {"before": "", "after": "plain"}},
    ]
    assert "topsecret" not in file_diff.render({"changed": True, "results": items})
    assert "+plain" in file_diff.render({"changed": True, "results": items})


def test_known_secrets_are_filtered_out_of_messages_and_diffs() -> None:
    diff = {"before": "key: old\n", "after": "key: correct-horse\n"}
    recorder = record(
        failed("a", msg="cannot use correct-horse"),
        ("runner_on_ok", {"host": "b", "task": "t", "res": {"changed": True, "diff": diff}}),
        check=True,
        hidden=("correct-horse",),
    )
    seen = repr(recorder.log.lines) + repr(recorder.changes) + repr(recorder.failures)  # type: ignore[attr-defined]
    assert "[secret]" in seen
    assert "correct-horse" not in seen


def test_what_ansible_says_outside_of_any_task_is_kept() -> None:
    recorder = record(
        ("verbose", {"stdout": "Using ansible.cfg"}), ("error", {"stdout": "\x1b[31mERROR! no such\nkey\x1b[0m"})
    )
    assert recorder.complaint == "ERROR! no such key"


# --- diffs of inputs


def test_inventory_differences_are_told_per_host() -> None:
    def inventory(**hosts: dict[str, Any]) -> dict[str, Any]:
        return {"all": {"hosts": hosts, "children": {"worker": {"hosts": {host: {} for host in hosts}}}}}

    olds = {"inventory": inventory(a={"ansible_host": "10.0.0.1"}, b={"ansible_host": "10.0.0.2"})}
    news = {"inventory": inventory(a={"ansible_host": "10.0.0.9"}, c={"ansible_host": UNKNOWN})}
    found = {change.path: (change.kind, change.detail) for change in input_diff(olds, news)}
    assert found == {
        "inventory.a.ansible_host": ("update", '"10.0.0.1" -> "10.0.0.9"'),
        "inventory.b": ("delete", "the host leaves: what it was given is taken back, if it answers"),
        "inventory.c": ("add", "a new host, in all, worker"),
    }
    assert input_diff(olds, olds) == []


def test_a_group_change_and_group_variables_are_seen() -> None:
    olds = {"inventory": {"all": {"hosts": {"a": {}}}, "worker": {"hosts": {}}}}
    joined = {"inventory": {"all": {"hosts": {"a": {}}}, "worker": {"hosts": {"a": None}}}}
    assert [change.path for change in input_diff(olds, joined)] == ["inventory.a.groups"]
    grouped = {"inventory": {"all": {"hosts": {"a": {}}, "vars": {"x": 1}}, "worker": {"hosts": {}}}}
    assert [change.path for change in input_diff(olds, grouped)] == ["inventory"]


def test_variables_are_told_by_name_and_secret_ones_without_value() -> None:
    olds = {"variables": {"version": "v1", "join_token": "abc", "gone": 1, "images": ["x" * 500]}}
    news = {"variables": {"version": "v2", "join_token": "def", "new": 1, "images": ["y" * 500]}}
    found = {change.path: (change.kind, change.detail) for change in input_diff(olds, news)}
    assert found == {
        "variables.gone": ("delete", ""),
        "variables.images": ("update", ""),
        "variables.join_token": ("update", "a secret value"),
        "variables.new": ("add", ""),
        "variables.version": ("update", '"v1" -> "v2"'),
    }


def test_paths_quote_what_is_no_plain_word() -> None:
    assert join(join("hosts", "onprem-1"), 'kubeadm : Write "x"') == 'hosts.onprem-1["kubeadm : Write \\"x\\""]'


# --- redaction


@pytest.mark.parametrize("name", ["api_token", "join_key", "encryption_keys", "password", "kubeconfig", "S3_SECRET"])
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["host_key", "authorized_keys", "api_address", "private_key_path", "monkey_count"])
def test_public_names(name: str) -> None:
    assert not is_secret_name(name)


def test_secrets_are_found_deep_inside_and_hidden_in_each_form() -> None:
    variables = {"users": [{"name": "admin", "password": "line one\nzzzzyyyyxxxxwwww1234"}], "size": "large-enough"}
    redact = Redactor.of(secret_values(variables))
    assert redact("zzzzyyyyxxxxwwww1234 and large-enough, admin") == "[secret] and large-enough, admin"
    assert redact(json.dumps(variables["users"][0]["password"])) == '"[secret]"'  # type: ignore[index]


# --- inventory and inputs


def test_known_hosts_follow_address_port_and_connection() -> None:
    inventory = {
        "all": {
            "hosts": {
                "a": {"ansible_host": "10.0.0.1", "host_key": f"{KEY} comment"},
                "b": {"ansible_host": "10.0.0.2", "ansible_port": 2222, "host_key": KEY},
                "here": {"ansible_connection": "local", "host_key": KEY},
            },
            "children": {"worker": {"hosts": {"a": {}, "b": None}}},
        }
    }
    assert ssh.known_hosts(inventory) == f"10.0.0.1 {KEY}\n[10.0.0.2]:2222 {KEY}\n"


def test_kept_connections_end_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets, program = tmp_path / "sockets", tmp_path / "ssh"
    sockets.mkdir()
    for name in "abc":
        (sockets / name).touch()
    # each ends only once all have begun
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/told\nuntil [ "$(wc -l < {tmp_path}/told)" = 3 ]; do sleep 0.05; done\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    began = time.monotonic()
    ssh.close_connections(sockets)
    assert time.monotonic() - began < 4, "one waited for another until its time was over"
    told = sorted((tmp_path / "told").read_text().splitlines())
    assert told == [f"-o ControlPath={sockets}/{name} -O exit unused" for name in "abc"]


def inputs(place: Path, **other: Any) -> dict[str, Any]:
    for name in ("site.yml", "reset.yml"):
        (place / name).write_text("[]")
    return {
        "playbook": "site.yml",
        "folder": str(place),
        "inventory": {"all": {"hosts": {"a": {"host_key": KEY}}}},
        "variables": {},
        "roles_digest": "sha256:1",
        "outputs": [],
        "private_key_path": "/key",
        "work_dir": "/work",
        "timeout_s": 60,
        "check_on_diff": False,
        "reset_allowed": False,
        "reset_playbook": "reset.yml",
        **other,
    }


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("playbook", "other.yml", "there is no 'other.yml'"),
        ("folder", "ansible", "must be an absolute path"),
        ("inventory", {"all": {"hosts": {}}}, "names no host"),
        ("inventory", {"all": {"hosts": {"a": {}}}}, "host 'a' has no host_key"),
        ("inventory", {"all": {"hosts": {"a": {"host_key": "AAAA"}}}}, "must look like `ssh-ed25519 AAAA...`"),
        ("inventory", {"all": ["a"]}, "must hold hosts, vars or children"),
        ("variables", {"isthmus_outputs": "/tmp"}, "is set by the provider"),
        ("variables", {"isthmus_changed_hosts": ["one"]}, "is set by the provider"),
        ("outputs", ["../kubeconfig"], "is no name for an output"),
        ("timeout_s", 0, "above 0"),
        ("timeout_s", True, "must be of type int"),
        ("reset_allowed", None, "is missing"),
        ("surprise", 1, "unknown input"),
    ],
)
def test_bad_inputs_are_refused_with_the_reason(tmp_path: Path, key: str, value: Any, reason: str) -> None:
    found = playbook_inputs.check(inputs(tmp_path, **{key: value}))
    assert reason in found[key]


def test_good_and_unknown_inputs_are_accepted(tmp_path: Path) -> None:
    assert playbook_inputs.check(inputs(tmp_path)) == {}
    unknown_key = {"all": {"hosts": {"a": {"host_key": UNKNOWN}}}}
    assert playbook_inputs.check(inputs(tmp_path, inventory=unknown_key, variables=UNKNOWN)) == {}
    assert playbook_inputs.check(inputs(tmp_path, inventory=UNKNOWN)) == {}


# --- processes


def test_stop_ends_a_tree_that_ignores_the_polite_signal_and_has_sessions_of_its_own() -> None:
    # The child leads a session of its own, as ansible's workers do, and neither listens to SIGTERM.
    script = "trap '' TERM; setsid sh -c \"trap '' TERM; sleep 60 & echo \\$!; wait\" & wait"
    parent = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    grandchild = int(parent.stdout.readline())
    assert processes.start_time(grandchild) is not None
    processes.stop(parent.pid, patience_s=0.3)
    parent.wait(timeout=5)
    deadline = time.monotonic() + 5
    while processes.start_time(grandchild) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes.start_time(grandchild) is None
    assert processes.start_time(os.getpid()) is not None


# --- the digest of the roles


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "ansible.cfg": "[defaults]\n",
        "site.yml": "- import_playbook: preflight.yml\n- hosts: all\n  roles: [{role: runtime}]\n",
        "preflight.yml": "- hosts: all\n  tasks:\n    - ansible.builtin.include_role: {name: checks}\n",
        "upgrade.yml": "- hosts: all\n  roles: [upgrader]\n",
        "templates/x.j2": "x",
        "roles/runtime/tasks/main.yml": "- block:\n    - import_role:\n        name: registry\n",
        "roles/runtime/meta/main.yml": "dependencies: [{role: base}]\n",
        "roles/runtime/README.md": "about",
        "roles/runtime/files/run.sh": "#!/bin/sh\n",
        "roles/registry/tasks/main.yml": "- debug: {msg: !unsafe '{{ x }}'}\n",
        "roles/base/tasks/main.yml": "[]\n",
        "roles/checks/tasks/main.yml": "[]\n",
        "roles/upgrader/tasks/main.yml": "[]\n",
    }
    for name, text in files.items():
        path = tmp_path / "ansible" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "ansible"


@pytest.mark.parametrize(
    "name",
    [
        "ansible.cfg",
        "site.yml",
        "preflight.yml",
        "templates/x.j2",
        "roles/runtime/tasks/main.yml",
        "roles/registry/tasks/main.yml",
        "roles/base/tasks/main.yml",
        "roles/checks/tasks/main.yml",
        "roles/checks/defaults/main.yml",
    ],
)
def test_the_digest_sees_an_edit_of_whatever_is_used(project: Path, name: str) -> None:
    before = roles_digest(project, "site.yml")
    path = project / name
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "# edited\n")
    assert roles_digest(project, "site.yml") != before


@pytest.mark.parametrize(
    "name", ["upgrade.yml", "roles/upgrader/tasks/main.yml", "roles/runtime/README.md", "roles/base/tests/t.py"]
)
def test_the_digest_does_not_see_what_hosts_never_see(project: Path, name: str) -> None:
    before = roles_digest(project, "site.yml")
    path = project / name
    path.parent.mkdir(exist_ok=True)
    path.write_text((path.read_text() if path.exists() else "") + "# edited\n")
    assert roles_digest(project, "site.yml") == before


def test_the_digest_is_of_content_not_of_place_or_time(project: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(project, tmp_path / "elsewhere")
    os.utime(copy / "site.yml", (1, 1))
    assert roles_digest(copy, "site.yml") == roles_digest(project, "site.yml")
    (copy / "roles/runtime/files/run.sh").chmod(0o755)
    assert roles_digest(copy, "site.yml") != roles_digest(project, "site.yml"), "whether a file can be run counts"


def test_a_role_chosen_at_run_time_makes_every_role_count(project: Path) -> None:
    (project / "preflight.yml").write_text("- hosts: all\n  tasks:\n    - include_role: {name: '{{ which }}'}\n")
    before = roles_digest(project, "site.yml")
    (project / "roles/upgrader/tasks/main.yml").write_text("# edited\n")
    assert roles_digest(project, "site.yml") != before


def test_a_missing_playbook_is_said(project: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"playbook nothing\.yml does not exist"):
        roles_digest(project, "nothing.yml")


def test_the_order_in_which_the_engine_hands_hosts_over_does_not_reach_them() -> None:
    one = {"all": {"hosts": {"a": {"x": 1, "y": 2}, "b": {}}}}
    other = {"all": {"hosts": {"b": {}, "a": {"y": 2, "x": 1}}}}
    assert list(json.loads(ordered(one))["all"]["hosts"]) == ["a", "b"]
    assert ordered(one) == ordered(other)
