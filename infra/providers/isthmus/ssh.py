"""ssh settings of a run: which host keys are accepted, and connections that end with the run."""

from __future__ import annotations

import concurrent.futures
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Hosts = dict[str, dict[str, Any]]


def hosts(inventory: dict[str, Any]) -> Hosts:
    """Every host of an ansible YAML inventory with its host variables, those of its groups not included."""
    found: Hosts = {}
    for group in _groups(inventory):
        for name, variables in (group.get("hosts") or {}).items():
            found.setdefault(str(name), {}).update(variables or {})
    return found


def memberships(inventory: dict[str, Any]) -> dict[str, list[str]]:
    """The groups that name a host directly, sorted, by host."""
    found: dict[str, set[str]] = {}
    for name, group in _named_groups(inventory):
        for host in group.get("hosts") or {}:
            found.setdefault(str(host), set()).add(name)
    return {host: sorted(names) for host, names in found.items()}


def group_names(inventory: dict[str, Any]) -> set[str]:
    """The groups that it names, those too that are empty."""
    return {name for name, _group in _named_groups(inventory)}


def group_variables(inventory: dict[str, Any]) -> Hosts:
    """The variables that groups give their hosts, by group; groups without any are left out."""
    return {name: group["vars"] for name, group in _named_groups(inventory) if group.get("vars")}


def _named_groups(inventory: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, group in inventory.items():
        if isinstance(group, dict):
            yield name, group
            yield from _named_groups(group.get("children") or {})


def _groups(inventory: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for _name, group in _named_groups(inventory):
        yield group


def over_ssh(variables: dict[str, Any]) -> bool:
    """Whether ansible reaches the host through ssh."""
    return variables.get("ansible_connection", "ssh") in ("ssh", "smart", "ansible.builtin.ssh")


def known_hosts(inventory: dict[str, Any]) -> str:
    """The known_hosts file: one line a host, from its host_key."""
    lines = []
    for name, variables in sorted(hosts(inventory).items()):
        if over_ssh(variables) and variables.get("host_key"):
            address, port = variables.get("ansible_host", name), int(variables.get("ansible_port", 22))
            where = address if port == 22 else f"[{address}]:{port}"
            # Type and key only: the comment of a key file is no part of it.
            lines.append(" ".join([str(where), *str(variables["host_key"]).split()[:2]]))
    return "".join(f"{line}\n" for line in lines)


def options(known_hosts_file: Path) -> str:
    """Arguments of every ssh call: only the recorded host keys count, only our own key is offered."""
    settings = {
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": known_hosts_file,
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "PreferredAuthentications": "publickey",
        # A host that dies while it works is noticed after 20 s instead of never.
        "ServerAliveInterval": 5,
        "ServerAliveCountMax": 4,
    }
    return " ".join(f"-o {name}={value}" for name, value in settings.items())


def close_connections(sockets: Path) -> None:
    """End the kept connections of a run, side by side, so that the next one checks the host keys again."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(_close, sorted(sockets.glob("*"))))


def _close(socket: Path) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        command = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "unused"]
        subprocess.run(command, capture_output=True, timeout=5, check=False)
