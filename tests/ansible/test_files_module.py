"""The files of the module isthmus.host.files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.ansible.conftest import run_files_module


def _run(*files: dict[str, Any], folders: Sequence[Path] = (), check: bool = False) -> dict[str, Any]:
    return run_files_module(
        {
            "files": list(files),
            "folders": [str(folder) for folder in folders],
            "_ansible_check_mode": check,
            "_ansible_diff": True,
        }
    )


def test_a_file_is_made_with_its_folders_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    file = {"dest": str(path), "content": "text\n", "mode": "0600"}

    assert _run(file)["changed_files"] == [str(path)]
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("text\n", 0o600)
    assert _run(file)["changed"] is False


def test_check_mode_tells_and_does_nothing_also_where_the_folder_is_missing(tmp_path: Path) -> None:
    result = _run({"dest": str(tmp_path / "no" / "file"), "content": "text"}, check=True)

    assert result["changed"] is True
    assert result["diff"][0]["after"] == "text"
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_mode_alone_is_put_right(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    path.chmod(0o666)

    assert _run({"dest": str(path), "content": "text"})["changed"] is True
    assert path.stat().st_mode & 0o777 == 0o644


def test_when_one_file_is_refused_none_is_touched(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    bad.write_text("old")
    result = _run(
        {"dest": str(good), "content": "new"}, {"dest": str(bad), "content": "new", "validate": "/bin/false %s"}
    )

    assert result["failed"] is True
    assert "would not be valid" in result["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]
    assert bad.read_text() == "old"


def test_a_file_that_needs_the_others_is_validated_beside_them(tmp_path: Path) -> None:
    program, settings = tmp_path / "program", tmp_path / "settings"
    files = (
        {"dest": str(settings), "content": "text", "validate": f"{program} %s", "needs_others": True},
        {"dest": str(program), "content": "#!/bin/sh\ngrep -q text $1\n", "mode": "0755"},
    )
    assert _run(*files)["changed_files"] == [str(settings), str(program)]
    assert settings.read_text() == "text"
    assert _run(*files)["changed"] is False

    refused = _run(files[0] | {"content": "other"}, files[1])
    assert refused["failed"] is True
    assert "would not be valid" in refused["msg"]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()}["settings"] == "text"
    assert len(list(tmp_path.iterdir())) == 2, "nothing half-made is left"


def test_a_file_that_needs_others_waits_for_all_of_them(tmp_path: Path) -> None:
    late, bad = tmp_path / "late", tmp_path / "bad"
    result = _run(
        {"dest": str(late), "content": "new", "needs_others": True},
        {"dest": str(bad), "content": "new", "validate": "/bin/false %s"},
    )
    assert result["failed"] is True
    assert list(tmp_path.iterdir()) == []


def test_a_download_is_held_to_its_sum(tmp_path: Path) -> None:
    source, path = tmp_path / "source", tmp_path / "file"
    source.write_bytes(b"binary")
    right = hashlib.sha256(b"binary").hexdigest()
    file = {"dest": str(path), "url": source.as_uri(), "sha256": right, "mode": "0755"}

    refused = _run(file | {"sha256": "0" * 64})
    assert refused["failed"] is True
    assert right in refused["msg"]
    assert not path.exists()
    assert _run(file)["changed"] is True
    assert path.read_bytes() == b"binary"
    assert _run(file)["changed"] is False


def test_a_folder_is_made_and_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    new, kept = tmp_path / "deep" / "new", tmp_path / "kept"
    kept.mkdir(mode=0o700)
    file = {"dest": str(tmp_path / "file"), "content": "text"}

    assert _run(file, folders=[new, kept], check=True)["changed_files"] == [str(new), file["dest"]]
    assert not new.exists()
    assert _run(file, folders=[new, kept])["changed_files"] == [str(new), file["dest"]]
    assert new.is_dir()
    assert kept.stat().st_mode & 0o777 == 0o700
    assert _run(file, folders=[new, kept])["changed"] is False
