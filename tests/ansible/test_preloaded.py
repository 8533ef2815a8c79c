"""Plugins that nearly each task needs are loaded before Ansible forks a process for one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from infra.paths import ROOT

LOOK = '''
"""Writes down what a worker loads."""

import os
import sys

from ansible.executor.task_executor import TaskExecutor
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: look
    type: aggregate
    short_description: looks
    description: [looks]
"""

run = TaskExecutor.run


def watched(self):
    before = set(sys.modules)
    try:
        return run(self)
    finally:
        with open(os.environ["SEEN"], "w") as file:
            file.write("\\n".join(sorted(set(sys.modules) - before)))


TaskExecutor.run = watched


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "look"
    CALLBACK_NEEDS_ENABLED = True
'''

PLAY = """
- hosts: localhost
  gather_facts: false
  vars:
    members: "{{ {'one': 1} | dict2items | map(attribute='key') | select('match', 'o') | join(',') }}"
    nodes: "{{ {} | isthmus.host.variable_problems | length }}"
    read: "{{ lookup('ansible.builtin.template', playbook_dir ~ '/some.j2') }}"
  tasks:
    - ansible.builtin.command: echo {{ members }} {{ nodes }} {{ read }}
"""


def loaded_by_a_worker(folder: Path, *callbacks: str) -> list[str]:
    """What a task loads whose templates have filters, tests and a lookup."""
    folder.mkdir()
    (folder / "look.py").write_text(LOOK)
    (folder / "some.j2").write_text("text")
    (folder / "play.yml").write_text(PLAY)
    ran = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-c", "local", folder / "play.yml"],
        env=os.environ
        | {
            "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(folder),
            "ANSIBLE_CALLBACKS_ENABLED": ",".join(["look", *callbacks]),
            "SEEN": str(folder / "seen"),
        },
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    kinds = ("plugins.filter.", "plugins.test.", "plugins.lookup.template", "plugins.action", "_json._profiles")
    return [name for name in (folder / "seen").read_text().split() if any(kind in name for kind in kinds)]


def test_a_worker_finds_loaded_what_its_task_needs(tmp_path: Path) -> None:
    alone = loaded_by_a_worker(tmp_path / "alone")
    for name in ("ansible.plugins.filter.core", "ansible.plugins.test.core", "isthmus.host.plugins.filter.preflight"):
        assert any(name in one for one in alone), f"Ansible itself loads {name} now, and nothing is to be done for it"
    assert loaded_by_a_worker(tmp_path / "preloaded", "isthmus.host.preloaded") == []
