"""What the tests of the roles share: the folders, and templates rendered as Ansible renders them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from infra.paths import ROOT

ANSIBLE = ROOT / "ansible"
ROLES = sorted(path for path in (ANSIBLE / "roles").iterdir() if path.is_dir())
COLLECTION = ANSIBLE / "collections" / "ansible_collections" / "isthmus" / "host" / "plugins"

FILES_MODULE = """\
import json, runpy, sys
from ansible.module_utils.testing import patch_module_args
with patch_module_args(json.load(sys.stdin)):
    runpy.run_module("ansible_collections.isthmus.host.plugins.modules.files", run_name="__main__")
"""

Render = Callable[..., str]
"""What the fixture `render` gives."""

HOSTS = {"one": "10.0.0.11", "two": "10.0.0.12", "three": "10.0.0.13"}


@pytest.fixture(scope="session", autouse=True)
def _plugins() -> None:
    """Once a process: Ansible finds the filters of our collection."""
    init_plugin_loader([str(ANSIBLE / "collections")])


def role_yaml(role: str, file: str) -> Any:
    """A YAML file of a role; empty when it is missing."""
    path = ANSIBLE / "roles" / role / file
    return yaml.safe_load(path.read_text()) if path.is_file() else {}


@pytest.fixture
def render() -> Render:
    """render(role, template, host, **variables): with the role's own variables below the given ones."""

    def rendered(role: str, template: str, host: str = "one", **variables: Any) -> str:
        known: dict[str, Any] = {}
        for values in (role_yaml(role, "defaults/main.yml"), role_yaml(role, "vars/main.yml")):
            known |= {name: _trusted(value) for name, value in (values or {}).items()}
        known |= {"inventory_hostname": host, "hostvars": {}, **variables}
        text = (ANSIBLE / "roles" / role / "templates" / template).read_text()
        templar = Templar(loader=DataLoader(), variables=known)
        return str(templar.template(trust_as_template(text), escape_backslashes=False))

    return rendered


def run_files_module(arguments: dict[str, Any], environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """What the module isthmus.host.files says, run as Ansible runs it: a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-c", FILES_MODULE],
        input=json.dumps({"_ansible_remote_tmp": "/tmp", **arguments}),
        env={**environment, "PYTHONPATH": str(ANSIBLE / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout, answer.stderr
    result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return result


def _trusted(value: Any) -> Any:
    """Ansible renders only text that it was told to trust; what stands in our own role files is."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {name: _trusted(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_trusted(entry) for entry in value]
    return value
