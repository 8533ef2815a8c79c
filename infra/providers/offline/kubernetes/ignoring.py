"""ignoreChanges: fields that the program leaves to whoever else sets them in the cluster, such as an autoscaler.

Server-side apply sends the whole of what a manager wants. So a field that only others own is left out, or it would be
taken back; one that is the program's own too goes out with its live value, or the server would drop it.
"""

from __future__ import annotations

import copy
from typing import Any

from infra.providers.offline.kubernetes.errors import ApiError
from infra.providers.offline.values import at


def leave(obj: dict[str, Any], live: dict[str, Any], paths: tuple[str, ...], manager: str) -> dict[str, Any]:
    """A copy of the object to apply, with the fields at `paths` (names and dots alone) as the live object has them."""
    left = copy.deepcopy(obj)
    for path in paths:
        if any(mark in path for mark in '[]*"'):
            raise ApiError(f"the stand-in for the kubernetes plugin ignores named fields only, not {path}", status=0)
        keys = path.split(".")
        parent = at(left, *keys[:-1])
        if not isinstance(parent, dict) or keys[-1] not in parent:
            continue
        owners = _owners(live, keys)
        if owners and manager not in owners:
            del parent[keys[-1]]
        elif (value := at(live, *keys)) is not None:
            parent[keys[-1]] = copy.deepcopy(value)
    return left


def _owners(live: dict[str, Any], keys: list[str]) -> set[str]:
    """The managers of a field, as the server keeps its books."""
    field = [f"f:{key}" for key in keys]
    entries = at(live, "metadata", "managedFields") or []
    return {entry["manager"] for entry in entries if at(entry, "fieldsV1", *field) is not None}
