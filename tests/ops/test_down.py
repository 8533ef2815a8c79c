"""What `make down` waits for before it removes the folder that the lab's volumes are in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops import down


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site's folder, and a losetup that finds a device of its image as long as the file `used` is there."""
    folder = tmp_path / "nas" / "onprem"
    folder.mkdir(parents=True)
    (folder / "pool.btrfs").touch()
    used = tmp_path / "used"
    used.touch()
    program = tmp_path / "bin" / "losetup"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$*" in *pool.btrfs) [ ! -e {used} ] || echo /dev/loop7;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(down, "RELEASE_S", 0.3)
    return folder.parent


def test_a_device_that_stays_is_told(nas: Path) -> None:
    assert down._released(nas) == [f"/dev/loop7 still uses a file of {nas}"]


def test_a_device_that_goes_is_waited_for(nas: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(down.time, "sleep", lambda _: (nas.parent / "used").unlink())
    assert down._released(nas) == []


def test_who_waits_for_long_is_told_once_what_for(
    nas: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(down, "PATIENCE_S", 0)
    down._released(nas)
    assert capsys.readouterr().out.splitlines() == [
        "    waiting until the kernel lets go of /dev/loop7, for at most 0.3 s"
    ]


def test_a_lab_without_volumes_has_none(tmp_path: Path) -> None:
    assert down._released(tmp_path / "nas") == []
