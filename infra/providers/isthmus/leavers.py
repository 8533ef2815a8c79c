"""Who leaves an inventory, or a group of it: told to the play, which takes back what it gave them.

A play finds them in groups beside the inventory's own: `left` are hosts that the inventory does not have any more, and
`was_GROUP` those that are not in that group any more. So a play about all hosts says `all:!left`.
"""

from __future__ import annotations

from typing import Any

from infra.providers.isthmus import ssh

Leavers = dict[str, dict[str, Any]]
"""Host -> the groups that it is not in any more (`groups`), and, where it left, how it is reached."""

LEFT, WAS = "left", "was_"


def find(olds: dict[str, Any], inventory: dict[str, Any]) -> Leavers:
    """Who left between a Playbook's state and an inventory, and who had left before a run that did not finish.

    A machine that has another name now has not left: its old name must not take away what its new one has.
    """
    after, groups = ssh.hosts(inventory), ssh.memberships(inventory)
    there = {_place(host, variables): host for host, variables in after.items()}
    found: Leavers = {}
    for host, variables in _before(olds).items():
        now = host if host in after else there.get(_place(host, variables))
        lost = set(variables["groups"]) - set(groups.get(now, [])) - {"all"} if now else set(variables["groups"])
        if now is None:
            found[host] = {**_connection(variables), "groups": sorted(lost - {"all"})}
        elif lost:
            found[now] = {"groups": sorted(lost)}
    return found


def groups(leaving: Leavers, inventory: dict[str, Any]) -> dict[str, Any]:
    """The groups that tell a play; all of them exist, so that a play for one without hosts is skipped."""
    here = ssh.hosts(inventory)
    told: dict[str, dict[str, Any]] = {WAS + name: {} for name in ssh.group_names(inventory) if name != "all"}
    told |= {WAS + name: {} for one in leaving.values() for name in one["groups"]}
    for host, variables in leaving.items():
        for name in variables["groups"]:
            told[WAS + name][host] = {}
    told[LEFT] = {host: _connection(variables) for host, variables in leaving.items() if host not in here}
    return {name: {"hosts": hosts} for name, hosts in told.items()}


def gone(leaving: Leavers, inventory: dict[str, Any]) -> list[str]:
    """The leavers that the inventory does not have any more, sorted."""
    return sorted(leaving.keys() - ssh.hosts(inventory).keys())


def _before(olds: dict[str, Any]) -> Leavers:
    inventory = olds.get("inventory") or {}
    member = ssh.memberships(inventory)
    found: Leavers = {host: {**values, "groups": member[host]} for host, values in ssh.hosts(inventory).items()}
    for host, values in (olds.get("leaving") or {}).items():
        known = found.setdefault(host, {**values, "groups": []})
        known["groups"] = sorted({*known["groups"], *values["groups"]})
    return found


def _connection(variables: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if name == "host_key" or name.startswith("ansible_")}


def _place(host: str, variables: dict[str, Any]) -> tuple[str, int]:
    return str(variables.get("ansible_host", host)), int(variables.get("ansible_port", 22))
