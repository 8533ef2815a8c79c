"""Ansible module isthmus.host.units: systemd units run what their files say, in one round trip."""

from __future__ import annotations

import datetime
import os
import pathlib
import subprocess
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: units
short_description: systemd units run what their files say, in one round trip
description:
  - Enables each unit, starts it, and restarts or reloads one whose files are newer than its last change of state; or
    stops it, or leaves it to somebody else to start it at boot.
  - So a change is never lost between two runs, as a handler's is when a run ends early.
  - Reads changed unit files first. Supports check mode, also where a unit is still missing, and diff.
options:
  units:
    description: The units, in the order in which they are started.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the unit., type: str, required: true}
      files: {description: Paths of what the unit reads when it starts., type: list, elements: path, default: []}
      newer: {description: What a newer file asks for., type: str, choices: [restart, reload], default: restart}
      needs: {description: "Path without which the unit is not started, only enabled.", type: path}
      state: {description: What it is to be now., type: str, choices: [started, stopped], default: started}
      enabled: {description: Whether a boot starts it., type: bool, default: true}
author: Isthmus
"""

EXAMPLES = r"""
- name: Run the service now and after each boot
  isthmus.host.units:
    units:
      - name: service
        files: [/etc/service/service.conf]
        newer: reload
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode, as systemctl calls.
  type: list
  elements: str
  returned: always
"""

PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload", "StateChangeTimestamp", "DropInPaths")
NEWER = {"restart": "restart", "reload": "reload-or-restart"}
SETTINGS = {"LC_ALL": "C", "SYSTEMCTL_SKIP_SYSV": "1"}
"""Packages bring SysV scripts too, which systemd ignores where there is a unit: `enable` need not have them linked."""
TIME = "%a %Y-%m-%d %H:%M:%S.%f %Z"


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

    @property
    def runs(self) -> bool:
        """Also while it comes up, or waits to be started again."""
        return self.state["ActiveState"] not in ("inactive", "failed")

    @property
    def stale(self) -> bool:
        """Has a file changed since the unit started or was last reloaded?"""
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


def ask(wanted: list[dict[str, Any]]) -> list[Unit]:
    """The units with their state, in one call."""
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


def main() -> None:
    """What Ansible calls."""
    options = {
        "name": {"type": "str", "required": True},
        "files": {"type": "list", "elements": "path", "default": []},
        "newer": {"type": "str", "choices": list(NEWER), "default": "restart"},
        "needs": {"type": "path"},
        "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
        "enabled": {"type": "bool", "default": True},
    }
    module = AnsibleModule(
        argument_spec={"units": {"type": "list", "elements": "dict", "required": True, "options": options}},
        supports_check_mode=True,
    )
    try:
        todo = calls(ask(module.params["units"]))
        actions = [" ".join(["systemctl", *call]) for call in todo]
        result: dict[str, Any] = {"changed": bool(todo), "actions": actions}
        if module._diff:
            result["diff"] = {"prepared": "".join(f"{action}\n" for action in actions)}
        if not module.check_mode:
            for call in todo:
                systemctl(*call)
    except Failed as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
