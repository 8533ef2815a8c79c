"""What is sent of fields that the program leaves to others."""

from __future__ import annotations

from typing import Any

import pytest

from infra.providers.offline.kubernetes.errors import ApiError
from infra.providers.offline.kubernetes.ignoring import leave

WANTED = {"metadata": {"name": "web"}, "spec": {"replicas": 2, "paused": False}}


def live(replicas: int, **owners: list[str]) -> dict[str, Any]:
    """A live object; each manager owns those fields of its spec."""
    books = [
        {"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {f"f:{field}": {} for field in fields}}}
        for manager, fields in owners.items()
    ]
    return {"metadata": {"name": "web", "managedFields": books}, "spec": {"replicas": replicas, "paused": True}}


def sent(now: dict[str, Any], *paths: str) -> dict[str, Any]:
    return leave(WANTED, now, paths, "us")["spec"]


def test_what_another_has_taken_over_is_not_sent() -> None:
    assert sent(live(4, autoscaler=["replicas"], us=["paused"]), "spec.replicas") == {"paused": False}


def test_what_is_ours_is_sent_as_it_is_or_the_server_would_drop_it() -> None:
    assert sent(live(2, us=["replicas"]), "spec.replicas")["replicas"] == 2
    assert sent(live(3, us=["replicas"]), "spec.replicas")["replicas"] == 3
    assert sent(live(3, us=["replicas"], autoscaler=["replicas"]), "spec.replicas")["replicas"] == 3


def test_other_fields_and_the_programs_own_object_are_left_alone() -> None:
    assert sent(live(4, autoscaler=["replicas"]), "spec.replicas", "spec.none", "none.at.all")["paused"] is False
    assert WANTED["spec"] == {"replicas": 2, "paused": False}


def test_a_path_into_a_list_is_refused_rather_than_not_followed() -> None:
    with pytest.raises(ApiError, match=r"named fields only, not spec\.containers\[0\]"):
        sent(live(2, us=["replicas"]), "spec.containers[0]")
