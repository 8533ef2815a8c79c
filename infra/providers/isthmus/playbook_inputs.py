"""Which inputs a Playbook takes, and what is asked of each."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from infra.providers.isthmus import ssh
from infra.providers.isthmus.handler import UNKNOWN, has_unknown

_TYPES: dict[str, tuple[type, ...]] = {
    "playbook": (str,),
    "folder": (str,),
    "inventory": (dict,),
    "variables": (dict,),
    "roles_digest": (str,),
    "outputs": (list,),
    "private_key_path": (str,),
    "work_dir": (str,),
    "timeout_s": (int,),
    "check_on_diff": (bool,),
    "reset_allowed": (bool,),
    "reset_playbook": (str,),
}

_TOLD = {"isthmus_outputs": "the folder for the outputs", "isthmus_changed_hosts": "the hosts that a run is about"}
"""Variables that a play is told beside its inputs."""


def check(news: dict[str, Any]) -> dict[str, str]:
    """Property -> reason for each input that is refused."""
    reasons: dict[str, str] = {name: "unknown input" for name in news.keys() - _TYPES.keys()}
    for name, types in _TYPES.items():
        value = news.get(name)
        if value is None:
            reasons[name] = "is missing"
        elif value is not UNKNOWN and (not isinstance(value, types) or (types == (int,) and isinstance(value, bool))):
            reasons[name] = f"must be of type {types[0].__name__}, not {type(value).__name__}"
    known = {name: value for name, value in news.items() if value is not UNKNOWN and name not in reasons}
    for name in ("folder", "private_key_path", "work_dir"):
        if name in known and not Path(known[name]).is_absolute():
            reasons[name] = f"must be an absolute path, not {known[name]!r}"
    if known.get("timeout_s", 1) <= 0:
        reasons["timeout_s"] = "must be a number of seconds above 0"
    for name in ("playbook", "reset_playbook"):
        if name in known and "folder" in known and not (Path(known["folder"]) / known[name]).is_file():
            reasons[name] = f"there is no {known[name]!r} in {known['folder']}"
    for output in known.get("outputs", []):
        if not isinstance(output, str) or not re.fullmatch(r"[a-z][a-z0-9_.-]*", output):
            reasons["outputs"] = f"{output!r} is no name for an output: it must be a plain file name in lower case"
    for name, meaning in _TOLD.items():
        if name in known.get("variables", {}):
            reasons["variables"] = f"{name} is set by the provider: it names {meaning}"
    if "inventory" in known and (reason := _inventory(known["inventory"])):
        reasons["inventory"] = reason
    return reasons


def _inventory(inventory: dict[str, Any]) -> str:
    for name, group in inventory.items():
        if group is not UNKNOWN and not isinstance(group, dict):
            return f"group {name!r} must hold hosts, vars or children, not {type(group).__name__}"
    if has_unknown({name: list((group or {}).get("hosts") or []) for name, group in _whole(inventory)}):
        return ""
    found = ssh.hosts(inventory)
    if not found:
        return "names no host"
    for host, variables in found.items():
        key = variables.get("host_key")
        if not ssh.over_ssh(variables) or key is UNKNOWN:
            continue
        if not key:
            return f"host {host!r} has no host_key: without it nobody can tell whether the right machine answers"
        if not re.match(r"(ssh|ecdsa|sk)-\S+ [A-Za-z0-9+/]+=*( |$)", str(key)):
            return f"host_key of {host!r} must look like `ssh-ed25519 AAAA...`, as in ssh_host_ed25519_key.pub"
    return ""


def _whole(inventory: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, group) for name, group in inventory.items() if isinstance(group, dict)]


def host_names(state: dict[str, Any]) -> list[str]:
    """The hosts of the inventory, sorted."""
    return sorted(ssh.hosts(state["inventory"]))


def forget_facts(news: dict[str, Any]) -> None:
    """Drop what ansible remembers of the hosts: a new or moved machine is not the one it knew."""
    shutil.rmtree(Path(news["work_dir"]) / "facts", ignore_errors=True)
