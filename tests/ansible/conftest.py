"""What the tests of the roles share: the folders, and templates rendered as Ansible renders them."""

from __future__ import annotations

from collections.abc import Callable
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
def render() -> Callable[..., str]:
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


def _trusted(value: Any) -> Any:
    """Ansible renders only text that it was told to trust; what stands in our own role files is."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {name: _trusted(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_trusted(entry) for entry in value]
    return value
