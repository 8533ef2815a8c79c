"""A checkout that `make up` has prepared, in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import settings
from infra.onprem import cluster, lab


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keys and a playbook; what they hold does not matter here."""
    for module in (settings, cluster, lab):
        monkeypatch.setattr(module, "state", lambda environment: tmp_path / environment)
    monkeypatch.delenv(settings.HOSTS_VARIABLE, raising=False)
    key = settings.authorized_key_file("local")
    key.parent.mkdir(parents=True)
    key.write_text("ssh-ed25519 AAAA me\n")
    ansible = tmp_path / "ansible"
    ansible.mkdir()
    (ansible / cluster.PLAYBOOK).write_text("- hosts: all\n")
    monkeypatch.setattr(cluster, "FOLDER", ansible)
    return tmp_path
