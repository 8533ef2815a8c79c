"""Ends a running ansible with all that it started, by process id.

Its workers lead sessions of their own, so a signal to ansible's process group alone would leave them, and their ssh,
working on the hosts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent and start time (clock ticks since boot) of a process; None when it is gone."""
    try:
        # The command name may hold spaces and brackets: the fields begin after its last closing one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1]), int(fields[19])


def start_time(pid: int) -> int | None:
    """What tells a process from a later one with the same id."""
    found = _stat(pid)
    return None if found is None or found[0] == "Z" else found[2]


def descendants(pid: int) -> list[int]:
    """The process and all below it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _stat(int(entry.name))):
            children.setdefault(found[1], []).append(int(entry.name))
    order = [pid]
    for current in order:
        order.extend(children.get(current, []))
    return order


def find(word: str) -> int | None:
    """The process below this one that has `word` in its command line, the eldest of them."""
    for pid in descendants(os.getpid())[1:]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return None


def stop(pid: int, patience_s: float = 5) -> None:
    """Ask the process to end (ansible then ends its workers), and after `patience_s` end what is left of its tree."""
    tree = {member: start_time(member) for member in descendants(pid)}
    _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and _alive(tree):
        for member in descendants(pid):
            tree.setdefault(member, start_time(member))
        time.sleep(0.1)
    for member in _alive(tree):
        _signal(member, signal.SIGKILL)


def _alive(tree: dict[int, int | None]) -> list[int]:
    return [pid for pid, started in tree.items() if started is not None and start_time(pid) == started]


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
