"""Unit tests are left out of `make test` for the very tree that passed them, and for no other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ops import checked


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(checked, "ROOT", tmp_path)
    monkeypatch.setattr(checked, "RECORD", tmp_path / ".state" / "checked")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(".state/\n")
    (tmp_path / "one.py").write_text("1")
    checked.remember(checked.tree())
    return tmp_path


def test_the_tree_that_passed_is_known_again() -> None:
    assert checked.passed(checked.tree())


@pytest.mark.parametrize("change", ["content", "mode", "new file", "file gone", "forgotten"])
def test_any_other_tree_is_not(root: Path, change: str) -> None:
    file = root / "one.py"
    match change:
        case "content":
            file.write_text("2")
        case "mode":
            file.chmod(0o755)
        case "new file":
            (root / "two.py").touch()
        case "file gone":
            file.unlink()
        case "forgotten":
            checked.remember(None)
    assert not checked.passed(checked.tree())


def test_generated_files_make_no_difference(root: Path) -> None:
    (root / ".state" / "log").touch()
    assert checked.passed(checked.tree())


def test_a_folder_that_git_does_not_know_never_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "ROOT", tmp_path / ".state")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    assert checked.tree() is None
    checked.remember(checked.tree())
    assert not checked.passed(checked.tree())
