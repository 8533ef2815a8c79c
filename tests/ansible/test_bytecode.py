"""Modules travel with their bytecode, and hosts take it."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra.paths import ROOT
from tests.ansible.conftest import COLLECTION

_spec = importlib.util.spec_from_file_location("bytecode", COLLECTION / "callback" / "bytecode.py")
assert _spec and _spec.loader
bytecode = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bytecode)

LOOK = """
import zipfile

from ansible.module_utils import basic

module = basic.AnsibleModule({})
with zipfile.ZipFile(basic.__loader__.archive) as archive:
    names = archive.namelist()
module.exit_json(
    changed=False,
    without=[name for name in names if name.startswith("ansible") and name.endswith(".py") and f"{name}c" not in names],
    itself=[name for name in names if name.endswith("look.pyc")],
)
"""

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - look:
      register: seen
    - ansible.builtin.assert:
        that: ["seen.without == []", "seen.itself | length == 1"]
        fail_msg: "{{ seen | to_json }}"
"""


def archive(path: Path, source: bytes, *, later: bytes | None = None, magic: bytes | None = None) -> None:
    """An archive with the bytecode of `source`, whose source says something else `later`."""
    first = io.BytesIO()
    with zipfile.ZipFile(first, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("said.py", source)
        bytecode.add_bytecode(made)
        compiled = made.read("said.pyc")
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("said.py", later or source)
        made.writestr("said.pyc", (magic or compiled[:4]) + compiled[4:])


@pytest.mark.parametrize(("magic", "says"), [(None, "bytecode"), (b"\xff\xff\r\n", "source")])
def test_python_takes_the_bytecode_and_of_another_version_the_source(
    tmp_path: Path, magic: bytes | None, says: str
) -> None:
    archive(tmp_path / "a.zip", b"print('bytecode')", later=b"print('source')", magic=magic)
    program = f"import sys; sys.path.insert(0, {str(tmp_path / 'a.zip')!r}); import said"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == says


def test_every_source_that_ansible_sends_has_its_bytecode_beside_it(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "look.py").write_text(LOOK)
    (tmp_path / "play.yml").write_text(PLAY)
    ran = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-c", "local", tmp_path / "play.yml"],
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg")},
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
