"""Built modules are kept from run to run, and built anew when anything in them has changed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.paths import ROOT
from tests.ansible.conftest import COLLECTION

_spec = importlib.util.spec_from_file_location("kept_modules", COLLECTION / "callback" / "kept_modules.py")
assert _spec and _spec.loader
kept_modules = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kept_modules)

COMMAND, FILES = "ansible.modules.command", "ansible_collections.isthmus.host.plugins.modules.files"

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.command: echo it
      register: told
    - isthmus.host.files:
        files: [{dest: "{{ playbook_dir }}/made", content: "{{ told.stdout }}"}]
    - own:
"""

OWN = """
from ansible.module_utils import basic

basic.AnsibleModule({}).exit_json(changed=False)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "own.py").write_text(OWN)
    (tmp_path / "play.yml").write_text(PLAY)
    return tmp_path


def play(folder: Path) -> dict[str, tuple[int, int]]:
    """What is kept after a run, by the name of its module: inode and time of each."""
    ran = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-c", "local", folder / "play.yml"],
        env=os.environ
        | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
            "ANSIBLE_KEPT_MODULES_FOLDER": str(folder / "kept"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        },
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (folder / "made").read_text() == "it"
    assert "WARNING" not in ran.stderr, ran.stderr
    (version,) = (folder / "kept").iterdir()
    return {path.name.split("-")[0]: (path.stat().st_ino, path.stat().st_mtime_ns) for path in version.iterdir()}


def test_the_next_run_takes_what_is_kept_and_builds_nothing(folder: Path) -> None:
    first = play(folder)
    assert set(first) == {COMMAND, FILES}, "a module of somebody else's may change without a change of version"
    (folder / "made").unlink()
    assert play(folder) == first


def test_a_run_really_uses_what_is_kept(folder: Path) -> None:
    play(folder)
    (kept,) = (folder / "kept").glob(f"*/{COMMAND}-*")
    kept.write_bytes(b"not what Ansible has built")
    with pytest.raises(AssertionError, match=r"ansible\.builtin\.command"):
        play(folder)


def test_what_a_module_is_made_of_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "one.py").write_text("1")
    keys = [kept_modules.key(tmp_path), kept_modules.key(tmp_path)]
    (tmp_path / "modules" / "one.py").write_text("2")
    keys.append(kept_modules.key(tmp_path))
    monkeypatch.setattr(kept_modules, "__version__", "2.99.0")
    keys.append(kept_modules.key(tmp_path))
    monkeypatch.setattr(sys, "version", "3.99")
    keys.append(kept_modules.key(tmp_path))
    assert keys[0] == keys[1]
    assert len({*keys}) == 4


def test_what_nobody_has_used_for_a_month_goes(tmp_path: Path) -> None:
    old, new, cache = tmp_path / "kept" / "old", tmp_path / "kept" / "new", tmp_path / "cache"
    for one in (old, new, cache):
        one.mkdir(parents=True)
    (old / f"{COMMAND}-x").write_text("old")
    os.utime(old, (0, time.time() - kept_modules.KEPT_S - 60))
    for name in (f"{COMMAND}-x", f"{COMMAND}-x.lock", f"{FILES}-x-part", "ansible.legacy.own-x"):
        (cache / name).write_text("new")
    kept_modules.keep(cache, new)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["new"]
    assert [path.name for path in new.iterdir()] == [f"{COMMAND}-x"]
