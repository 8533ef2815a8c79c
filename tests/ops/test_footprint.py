"""What a lab left on the machine: what stays is told, what the kernel takes away by itself is waited for."""

from __future__ import annotations

from typing import Any

import pytest

from ops import footprint

BEFORE = {"links": ["eth0", "lo"], "sysctls": ["vm/panic_on_oom=0"]}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The machine's footprint as it is told now."""
    found = {part: list(lines) for part, lines in BEFORE.items()}
    monkeypatch.setattr(footprint, "take", lambda: found)
    monkeypatch.setattr(footprint, "SETTLE_S", 0.3)
    return found


def test_what_came_and_a_changed_sysctl_are_told(now: dict[str, Any]) -> None:
    now["links"].append("podman3")
    now["sysctls"] = ["vm/panic_on_oom=1"]
    assert footprint.since(BEFORE) == ["links: + podman3", "sysctls: + vm/panic_on_oom=1"]


def test_what_went_is_not_told(now: dict[str, Any]) -> None:
    now["links"].remove("eth0")
    assert footprint.since(BEFORE) == []


def test_what_goes_by_itself_is_waited_for(now: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now["links"].append("veth7")
    monkeypatch.setattr(footprint.time, "sleep", lambda _: now["links"].remove("veth7"))
    assert footprint.since(BEFORE) == []
