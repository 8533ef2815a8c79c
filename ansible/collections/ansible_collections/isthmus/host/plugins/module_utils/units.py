"""systemd units that run what their files say, for the module isthmus.host.files.

Each unit is enabled, started, and restarted or reloaded when its files are newer than its last change of state. So a
change is never lost between two runs, as a handler's is when a run ends early.
"""

from __future__ import annotations

import datetime
import os
import pathlib
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "StateChangeTimestamp", "DropInPaths")
NEWER = {"restart": "restart", "reload": "reload-or-restart"}
SETTINGS = {"LC_ALL": "C", "SYSTEMCTL_SKIP_SYSV": "1"}
"""Packages bring SysV scripts too, which systemd ignores where there is a unit: `enable` need not have them linked."""
TIME = "%a %Y-%m-%d %H:%M:%S.%f %Z"
OPTIONS = {
    "name": {"type": "str", "required": True},
    "files": {"type": "list", "elements": "path", "default": []},
    "newer": {"type": "str", "choices": list(NEWER), "default": "restart"},
    "needs": {"type": "path"},
    "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
    "enabled": {"type": "bool", "default": True},
}
"""The options of one unit, as the module declares them."""


class Failed(Exception):
    """systemctl refused."""


@dataclass(frozen=True)
class Unit:
    """What a unit should be, and what systemd says of it."""

    name: str
    files: tuple[pathlib.Path, ...]
    newer: str
    needs: pathlib.Path | None
    stopped: bool
    enabled: bool
    state: dict[str, str]
    changing: Collection[str]

    @property
    def runs(self) -> bool:
        """Also while it comes up, or waits to be started again."""
        return self.state["ActiveState"] not in ("inactive", "failed")

    @property
    def stale(self) -> bool:
        """Has a file changed since the unit started or was last reloaded, or does it in this run?"""
        if any(str(file) in self.changing for file in self.files):
            return True
        written = [file.stat().st_mtime for file in self.files if file.exists()]
        return bool(written) and max(written) > _seconds(self.state["StateChangeTimestamp"])

    @property
    def unread(self) -> bool:
        """Must systemd read its files before anybody starts it? Of a drop-in in a new folder it does not tell."""
        read = self.state["DropInPaths"].split()
        folder = f"{self.name}.d" if "." in self.name else f"{self.name}.service.d"
        return (
            self.state["NeedDaemonReload"] == "yes"
            or self.state["LoadState"] == "not-found"
            or any(file.parent.name == folder and file.exists() and str(file) not in read for file in self.files)
        )

    @property
    def verb(self) -> str | None:
        """What systemctl is to do."""
        if self.stopped:
            return "stop" if self.runs else None
        if not self.runs:
            return "start" if self.needs is None or self.needs.exists() else None
        return NEWER[self.newer] if self.stale else None


def _seconds(timestamp: str) -> float:
    """Unix time of what systemctl prints; 0 where nothing ever happened."""
    if not timestamp:
        return 0.0
    return datetime.datetime.strptime(timestamp, TIME).replace(tzinfo=datetime.UTC).timestamp()


def systemctl(*arguments: str) -> str:
    """Runs it; raises Failed with what it said."""
    done = subprocess.run(
        ["systemctl", *arguments], env=os.environ | SETTINGS, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"systemctl {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def ask(wanted: list[dict[str, Any]], changing: Collection[str]) -> list[Unit]:
    """The units with their state, in one call. `changing`: paths of files that this run changes, or would."""
    if not wanted:
        return []
    names = [unit["name"] for unit in wanted]
    answer = systemctl("show", "--timestamp=us+utc", f"--property={','.join(PROPERTIES)}", "--", *names)
    states = [dict(line.split("=", 1) for line in block.splitlines()) for block in answer.strip().split("\n\n")]
    return [
        Unit(
            name=unit["name"],
            files=tuple(pathlib.Path(file) for file in unit["files"]),
            newer=unit["newer"],
            needs=pathlib.Path(unit["needs"]) if unit["needs"] else None,
            stopped=unit["state"] == "stopped",
            enabled=unit["enabled"],
            state=state,
            changing=changing,
        )
        for unit, state in zip(wanted, states, strict=True)
    ]


def calls(units: list[Unit]) -> list[list[str]]:
    """What is to be told systemctl, in this order; nothing where all is well."""
    result: list[list[str]] = []
    wrong = [unit for unit in units if unit.enabled != (unit.state["UnitFileState"] == "enabled")]
    for verb, wanted in (("enable", True), ("disable", False)):
        if names := [unit.name for unit in wrong if unit.enabled == wanted]:
            # finds new units by their files, and ends with a daemon-reload of its own
            result.append([verb, *names])
    if not wrong and any(unit.unread for unit in units):
        result.append(["daemon-reload"])
    for unit in units:
        if unit.verb:
            result.append([unit.verb, unit.name])
    return result
