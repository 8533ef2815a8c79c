"""testinfra on every host of the running environment, through the same inventory that Ansible uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import testinfra

from infra.environment import Environment
from infra.paths import state
from ops import machines
from ops.up import load

ENVIRONMENT = os.environ.get("ISTHMUS_ENV", "local")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.lab)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "host" in metafunc.fixturenames:
        metafunc.parametrize("host", [h.name for h in load(ENVIRONMENT).onprem.hosts], indirect=True)


@pytest.fixture(scope="session")
def settings() -> Environment:
    return load(ENVIRONMENT)


@pytest.fixture(scope="session")
def ssh_config(tmp_path_factory: pytest.TempPathFactory, settings: Environment) -> Path:
    """ssh settings with this environment's key and the host keys that the machines were made with."""
    path = tmp_path_factory.mktemp("ssh") / "config"
    key = state(ENVIRONMENT) / "ssh" / "id_ed25519"
    known = path.with_name("known_hosts")
    # A lab machine's key is read at its console, so that ssh has something to compare with.
    keys = {
        h.address: h.host_key or machines.run(h.name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").strip()
        for h in settings.onprem.hosts
    }
    known.write_text("".join(f"{address} {key}\n" for address, key in keys.items()))
    blocks = [
        f"Host {h.name}\n  HostName {h.address}\n  User root\n  IdentityFile {key}\n"
        f"  UserKnownHostsFile {known}\n  StrictHostKeyChecking yes\n"
        for h in settings.onprem.hosts
    ]
    path.write_text("".join(blocks))
    return path


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest, ssh_config: Path):
    return testinfra.get_host(f"ssh://{request.param}", ssh_config=str(ssh_config))
