"""`make preview` says where it previews with stand-ins: no host and no cloud is asked then."""

from __future__ import annotations

import contextlib
from subprocess import CompletedProcess
from typing import Any

import pytest

from ops import backend, engine, preview

STATUS = 7


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run, on a machine that is set up; each ends with STATUS."""
    run: list[list[str]] = []

    def noted(command: list[str], **_: Any) -> CompletedProcess[str]:
        run.append(command)
        return CompletedProcess(command, STATUS)

    monkeypatch.setattr(preview.lock, "held", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(preview.bootstrap, "ensure", lambda: None)
    monkeypatch.setattr(preview.sync, "sync", lambda **_: None)
    monkeypatch.setattr(preview, "prepare", lambda _: None)
    monkeypatch.setattr(engine, "variables", lambda _: {})
    monkeypatch.setattr(preview.subprocess, "run", noted)
    return run


@pytest.mark.parametrize(
    ("environment", "stand_ins", "told"),
    [
        ("prod", ["aws", "kubernetes"], True),
        ("staging", ["aws"], True),
        ("prod", [], False),
        ("local", ["aws", "kubernetes"], False),  # a lab is what stand-ins are for
    ],
)
def test_a_preview_with_stand_ins_says_so_and_no_other_does(
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: str,
    stand_ins: list[str],
    told: bool,
) -> None:
    monkeypatch.setattr(backend, "stand_ins", lambda: stand_ins)
    assert preview.preview(environment, hosts=False, args=["--refresh"]) == STATUS
    notes = [line for line in capsys.readouterr().out.splitlines() if "stand-in" in line]
    assert bool(notes) == told
    assert all(f"stand-ins for {', '.join(stand_ins)}" in note for note in notes)
    ((*command, last),) = commands
    assert (command[:4], last) == (["pulumi", "preview", "--stack", environment], "--refresh")
