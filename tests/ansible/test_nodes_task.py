"""Labels and taints of all nodes are set in one round trip; with a kubectl that notes what it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.ansible.conftest import ANSIBLE

KUBECTL = """\
#!/bin/sh
echo >> {folder}/calls
case "$*" in *"get nodes"*) cat {folder}/nodes ;; *) shift 4; printf '%s|' "$@" >> {folder}/told ;; esac
case " {lost} " in *" $(wc -l < {folder}/calls) "*) echo 'error: unexpected EOF' >&2; exit 1 ;; esac
"""

ONE, TWO = (f"annotate|node|{name}|isthmus.internal/host=true|" for name in ("one", "two"))
LABELS = "label|--overwrite|node|one|rack=a b|annotate|--overwrite|node|one|isthmus.internal/labels=rack|"


def play(folder: Path, *, lost: Iterable[int] = ()) -> str:
    """What ansible printed of a run on nodes one and two, of which one is to have a label with a blank.

    Of the calls of kubectl those in `lost`, from 1 on, are done and their answers lost.
    """
    program = folder / "kubectl"
    program.write_text(KUBECTL.format(folder=folder, lost=" ".join(map(str, lost))))
    program.chmod(0o755)
    nodes = [{"metadata": {"name": name}, "spec": {}} for name in ("one", "two")]
    (folder / "nodes").write_text(json.dumps({"items": nodes}))
    (folder / "told").write_text("")
    variables = {
        "kubeadm_control_plane_bin_dir": str(folder),
        "kubeadm_control_plane_api_retries": 2,
        "kubeadm_control_plane_api_delay_s": 0,
        "kubeadm_control_plane_nodes": {
            "one": {"labels": {"rack": "a b"}, "taints": []},
            "two": {"labels": {}, "taints": []},
        },
    }
    task = {"ansible.builtin.import_role": {"name": "kubeadm_control_plane", "tasks_from": "nodes"}}
    whole = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": [task]}
    (folder / "play.yml").write_text(json.dumps([whole]))
    environment = os.environ | {"ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(folder)}
    ansible = Path(sys.executable).parent / "ansible-playbook"
    command = [ansible, "-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}", folder / "play.yml"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def test_every_node_gets_what_it_lacks(tmp_path: Path) -> None:
    printed = play(tmp_path)
    assert "failed=0" in printed and "changed=1" in printed, printed
    assert (tmp_path / "told").read_text() == ONE + LABELS + TWO


def test_answers_that_were_cut_off_are_asked_for_again(tmp_path: Path) -> None:
    printed = play(tmp_path, lost=[1, 4])
    assert "failed=0" in printed and "changed=1" in printed, printed
    cut, _, _ = LABELS.partition("annotate")
    assert (tmp_path / "told").read_text() == ONE + cut + ONE + LABELS + TWO


def test_the_first_command_that_always_fails_ends_it_and_is_named(tmp_path: Path) -> None:
    printed = play(tmp_path, lost=range(2, 9))
    assert "failed=1" in printed, printed
    assert f"+ {tmp_path}/kubectl" in printed
    assert (tmp_path / "told").read_text() == ONE * 3
