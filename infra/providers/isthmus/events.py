"""Turns the events of a running ansible into progress lines, per-host results, changes and failures."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from infra.providers.isthmus.file_diff import render
from infra.providers.isthmus.hints import Failure

_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")
_COMPLAINT = re.compile(r"\[?ERROR\]?[:!]")
_CAUSE = re.compile(r"^\[ERROR\]: Task failed: (?:Module failed: )?(.+)$", re.MULTILINE)


class Log(Protocol):
    """Where progress goes; the engine's log is one."""

    def status(self, message: str) -> None: ...
    def info(self, message: str) -> None: ...
    def warning(self, message: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class TaskChange:
    """A task that changed a host, or would in check mode. `detail` is a diff for people, empty where it is hidden."""

    host: str
    task: str
    detail: str


@dataclass
class Counts:
    """How a host's tasks ended."""

    ok: int = 0
    changed: int = 0
    failed: int = 0
    unreachable: int = 0

    def __str__(self) -> str:
        return f"ok={self.ok} changed={self.changed} failed={self.failed} unreachable={self.unreachable}"


@dataclass
class Recorder:
    """Handler of one run's events. It writes to the log as they come and keeps what the caller needs afterwards."""

    log: Log
    redact: Callable[[str], str]
    check: bool = False
    quiet: bool = False
    """Say nothing of single changes: the caller shows them."""
    where: str = ""
    """Path of the run's log, for messages."""
    clock: Callable[[], float] = time.monotonic
    changes: list[TaskChange] = field(default_factory=list)
    hosts: dict[str, Counts] = field(default_factory=dict)
    _failures: dict[str, Failure] = field(default_factory=dict)
    _hidden: set[tuple[str, str]] = field(default_factory=set)
    _output: deque[str] = field(default_factory=lambda: deque(maxlen=12))
    _start: float = 0.0

    def __post_init__(self) -> None:
        self._start = self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self._start

    def __call__(self, event: dict[str, Any]) -> None:
        """Take one event."""
        data = event.get("event_data") or {}
        handler = getattr(self, f"_{event['event']}", None)
        if handler is not None:
            handler(data, _plain(event))
        elif event["event"] in ("error", "verbose", "warning", "system_warning") and event.get("stdout"):
            self._output.append(_plain(event))

    @property
    def failures(self) -> list[Failure]:
        """The hosts that ended as failed; those that a rescue saved are not among them."""
        lost = {host for host, counts in self.hosts.items() if counts.failed or counts.unreachable}
        return [failure for host, failure in sorted(self._failures.items()) if host in lost or not self.hosts]

    @property
    def unreachable(self) -> set[str]:
        """The hosts that could not be reached. Of those that a play does without, Ansible's own counts say nothing."""
        return {host for host, failure in self._failures.items() if failure.unreachable}

    @property
    def complaint(self) -> str:
        """What ansible itself said when it stopped before or outside any task, such as a syntax error."""
        text = self.redact(" ".join(" ".join(self._output).split()))
        found = _COMPLAINT.search(text)
        return text[found.start() :][:800] if found else text[-800:]

    @property
    def summary(self) -> str:
        """One line with the counts of each host."""
        return "; ".join(f"{host} {counts}" for host, counts in sorted(self.hosts.items()))

    def _stamp(self, text: str) -> str:
        return self.redact(f"[{self.elapsed:6.1f} s] {text}")

    def _playbook_on_play_start(self, data: dict[str, Any], _stdout: str) -> None:
        self.log.info(self._stamp(f"play: {data.get('name') or data.get('play', '')}"))

    def _playbook_on_task_start(self, data: dict[str, Any], _stdout: str) -> None:
        self.log.status(self._stamp(f"task: {_task(data)}"))

    def _runner_on_ok(self, data: dict[str, Any], stdout: str) -> None:
        res = data.get("res") or {}
        hidden = "censored" in res
        looped = (data["host"], str(data.get("task_uuid"))) in self._hidden
        if not (res.get("changed") or (hidden and (looped or _says_changed(stdout)))):
            return
        host, task = data["host"], _task(data)
        detail = "" if hidden or not self.check else self.redact(render(res))
        self.changes.append(TaskChange(host=host, task=task, detail=detail))
        verb = "would change" if self.check else "changed"
        show = self.log.status if self.quiet else self.log.info
        show(self._stamp(f"{verb}: {host}: {task}") + (f"\n{detail}" if detail and not self.quiet else ""))

    def _runner_item_on_ok(self, data: dict[str, Any], stdout: str) -> None:
        # Ansible prints a line for each item of a loop, and then none for the task.
        if "censored" in (data.get("res") or {}) and _says_changed(stdout):
            self._hidden.add((data["host"], str(data.get("task_uuid"))))

    def _runner_on_failed(self, data: dict[str, Any], stdout: str) -> None:
        if not data.get("ignore_errors"):
            self._fail(data, stdout, unreachable=False)

    def _runner_on_unreachable(self, data: dict[str, Any], stdout: str) -> None:
        self._fail(data, stdout, unreachable=True)

    def _runner_retry(self, data: dict[str, Any], _stdout: str) -> None:
        attempts = (data.get("res") or {}).get("attempts", "?")
        self.log.status(self._stamp(f"waiting: {data['host']}: {_task(data)} (attempt {attempts})"))

    def _playbook_on_stats(self, data: dict[str, Any], _stdout: str) -> None:
        fields = {"ok": "ok", "changed": "changed", "failed": "failures", "unreachable": "dark"}
        for host in sorted(data.get("processed") or {}):
            counts = {ours: int((data.get(theirs) or {}).get(host, 0)) for ours, theirs in fields.items()}
            self.hosts[host] = Counts(**counts)
            self.log.info(self._stamp(f"{host}: {self.hosts[host]}"))

    def _fail(self, data: dict[str, Any], stdout: str, *, unreachable: bool) -> None:
        res = data.get("res") or {}
        message = _message(res)
        # Of what a module raised its result has no word ("Error executing command."); what Ansible prints for it has.
        if "exception" in res and "censored" not in res and (cause := _CAUSE.search(stdout)):
            message = cause[1] if cause[1].startswith(message.rstrip(".")) else f"{message}: {cause[1]}"
        message = self.redact(message)
        failure = Failure(host=data["host"], task=_task(data), message=message, unreachable=unreachable)
        self._failures[failure.host] = failure
        # Not an error yet: a rescue may follow. The one error comes when the run has ended.
        self.log.warning(self._stamp(str(failure)))


def _says_changed(stdout: str) -> bool:
    """A no_log result comes without its `changed`; the line that ansible prints for it still tells."""
    return re.search(r"^changed: \[", stdout, re.MULTILINE) is not None


def _plain(event: dict[str, Any]) -> str:
    """What ansible printed for the event, without colours."""
    return _CONTROL.sub("", str(event.get("stdout") or "")).strip()


def _task(data: dict[str, Any]) -> str:
    """The task's name as people look for it in the roles: `role : name`."""
    name, role = str(data.get("task") or data.get("name") or "?"), data.get("role")
    return f"{role} : {name}" if role and not name.startswith(f"{role} : ") else name


def _message(res: dict[str, Any]) -> str:
    """Why a task failed, from what modules put into different places."""
    if "censored" in res:
        return "the message is hidden, because the task handles secrets (no_log)"
    broken = [item for item in res.get("results") or [] if isinstance(item, dict) and item.get("failed")]
    if broken:
        label = broken[0].get("_ansible_item_label", broken[0].get("item", ""))
        return f"{_message(broken[0])} (item {label})" if "censored" not in broken[0] else _message(broken[0])
    parts: list[str] = []
    for key in ("msg", "reason", "stderr", "module_stderr", "module_stdout", "stdout"):
        text = str(res.get(key) or "").strip()
        # A command's stdout only counts when nothing else says why.
        if text and text not in " ".join(parts) and not (key.endswith("stdout") and len(parts) > 1):
            parts.append(text)
    return ": ".join(parts) or f"no message (exit status {res.get('rc', 'unknown')})"
