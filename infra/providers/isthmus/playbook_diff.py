"""What differs between two sets of a Playbook's inputs, in words; secret values are told by name only."""

from __future__ import annotations

import json
from typing import Any

from infra.providers.isthmus import ssh
from infra.providers.isthmus.handler import Change, has_unknown
from infra.providers.isthmus.kubeconfig import near_its_end
from infra.providers.isthmus.redaction import is_secret_name

RUN = ("playbook", "inventory", "variables", "roles_digest", "outputs")
"""Inputs that say what is done to the hosts: the playbook runs again when one of them differs."""

RECORD = ("folder", "private_key_path", "work_dir", "timeout_s", "reset_allowed", "reset_playbook")
"""Inputs that say how it is done, or what a delete may do: noted without a run. `check_on_diff` is in neither, because
asking for a closer look is no change."""


def input_diff(olds: dict[str, Any], news: dict[str, Any], keys: tuple[str, ...] = RUN + RECORD) -> list[Change]:
    """The inputs that differ, with the inventory told per host and the variables by name."""
    changes: list[Change] = []
    for key in keys:
        old, new = olds.get(key), news.get(key)
        if key in ("inventory", "variables") and isinstance(old, dict) and isinstance(new, dict):
            changes += _inventory(old, new) if key == "inventory" else _variables("variables", old, new)
        elif has_unknown(new) or old != new:
            changes.append(Change(path=key, kind="add" if old is None else "update", detail=_values(key, old, new)))
    return changes


def changed_hosts(olds: dict[str, Any], news: dict[str, Any]) -> list[str]:
    """The hosts that are new or have other variables of their own, sorted, where nothing else asks for a run.

    All hosts where anything else does, and where one left: what others were told in its place is theirs to take back.
    """
    before, after = _hosts(olds.get("inventory") or {}), _hosts(news["inventory"])
    changed = sorted(host for host, values in after.items() if values != before.get(host))
    alone = (
        olds.get("completed")
        and not olds.get("drift")
        and not news.get("check_on_diff")
        and near_its_end(olds) is None
        and before.keys() <= after.keys()
        and ssh.group_variables(olds["inventory"]) == ssh.group_variables(news["inventory"])
        and not input_diff(olds, news, tuple(key for key in RUN if key != "inventory"))
    )
    return changed if alone and changed else sorted(after)


def _inventory(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    before, after = _hosts(old), _hosts(new)
    changes: list[Change] = []
    for host in sorted(before.keys() | after.keys()):
        path = join("inventory", host)
        if host not in after:
            changes.append(
                Change(
                    path=path, kind="delete", detail="the host leaves: what it was given is taken back, if it answers"
                )
            )
        elif host not in before:
            changes.append(Change(path=path, kind="add", detail=f"a new host, in {', '.join(after[host]['groups'])}"))
        else:
            changes += _variables(path, before[host], after[host])
    if not changes and (has_unknown(new) or old != new):
        changes.append(Change(path="inventory", kind="update", detail="variables of a group"))
    return changes


def _hosts(inventory: dict[str, Any]) -> dict[str, dict[str, Any]]:
    groups = ssh.memberships(inventory)
    return {host: {**values, "groups": groups[host]} for host, values in ssh.hosts(inventory).items()}


def _variables(path: str, old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    changes = []
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            changes.append(Change(path=join(path, name), kind="delete"))
        elif name not in old:
            changes.append(Change(path=join(path, name), kind="add"))
        elif has_unknown(new[name]) or old[name] != new[name]:
            changes.append(Change(path=join(path, name), kind="update", detail=_values(name, old[name], new[name])))
    return changes


def _values(name: str, old: Any, new: Any) -> str:
    """`old -> new` where both are short and fit to be shown."""
    if has_unknown(new):
        return "known once the resources that it comes from are made"
    if is_secret_name(name):
        return "a secret value"
    texts = [json.dumps(value) for value in (old, new)]
    return " -> ".join(texts) if max(map(len, texts)) <= 120 else ""


def join(path: str, name: str) -> str:
    """A property path one step deeper; names that are no plain words are quoted."""
    if name and not set(name) & set(" .[]\"'\\"):
        return f"{path}.{name}"
    return f"{path}[{json.dumps(name)}]"
