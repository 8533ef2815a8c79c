"""The own provider under the true engine: a small program with a network, a machine and a secret."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

from infra.artifacts import ArtifactError, Index
from infra.paths import BIN, ROOT
from infra.providers.isthmus import lab
from infra.providers.isthmus.podman import Podman
from ops import engine

pytestmark = pytest.mark.machine

PROGRAM = """
import json, os, pulumi
from infra.resources import Authority, Certificate, Machine, Network, RandomSecret
common = json.loads(os.environ["TEST_COMMON"])
network = Network("network", name="engine-test", cidr="10.91.1.0/24", gateway="10.91.1.1", mirror_address="",
    registry_binary="", registry_storage="", **common)
machine = Machine("machine", hostname="engine-test-1", network=network.id, address=os.environ["TEST_ADDRESS"],
    authorized_key="ssh-ed25519 AAAA", disks={}, **common)
secret = RandomSecret("secret", bytes=16, prefix="GK")
authority = Authority("authority", name="engine-test")
certificate = Certificate("certificate", names=["server"], authority=authority)
pulumi.export("keys", [authority.private_key, certificate.private_key])
pulumi.export("host_key", machine.host_key)
pulumi.export("secret", secret.value)
"""


@dataclass
class Stack:
    """A project in a folder, with a file backend."""

    folder: Path
    environment: dict[str, str]
    podman: Podman

    def run(self, *arguments: str, ok: bool = True, **changed: str) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env={**self.environment, **changed},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def outputs(self) -> dict[str, Any]:
        return json.loads(self.run("stack", "output", "--json", "--show-secrets"))


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    path = os.pathsep.join([str(Path(sys.executable).parent), str(BIN), os.environ["PATH"]])
    if shutil.which("pulumi", path=path) is None:
        pytest.fail("pulumi is not installed; `make up` installs it")
    try:
        image = Index.load().artifact("machine")
    except ArtifactError as error:
        pytest.fail(f"this test boots the lab's machine image: {error}")
    folder = Path(tempfile.mkdtemp(prefix="isthmus-engine-"))
    plugin = {"name": "isthmus", "path": str(ROOT / "infra/providers/isthmus")}
    project = {"name": "engine-test", "runtime": "python", "plugins": {"providers": [plugin]}}
    (folder / "Pulumi.yaml").write_text(json.dumps(project))
    (folder / "__main__.py").write_text(PROGRAM)
    (folder / "backend").mkdir()
    common = {"image": str(image.local), "image_digest": image.digest, "checkout": str(folder), "environment": "test"}
    environment = {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # Its state is compressed as an environment's is, whose variables these tests otherwise do without.
        "PULUMI_DIY_BACKEND_ZSTD": engine.variables("local")["PULUMI_DIY_BACKEND_ZSTD"],
        "ISTHMUS_LAB": str(folder / "lab"),
        "TEST_COMMON": json.dumps(common),
        "TEST_ADDRESS": "10.91.1.11",
    }
    podman = Podman(root=folder / "lab" / "podman", run=folder / "lab" / "run")
    made = Stack(folder=folder, environment=environment, podman=podman)
    made.run("stack", "init", "test")
    yield made
    lab.remove_lab(podman=podman)
    podman("rmi", "--all", "--force")
    shutil.rmtree(folder, ignore_errors=True)


def test_a_preview_knows_what_it_cannot_know_and_makes_nothing(stack: Stack) -> None:
    said = stack.run("preview", "--diff")
    assert "isthmus:lab:Machine" in said
    assert lab.labs(stack.podman) == []


def test_up_makes_everything_and_a_second_one_nothing(stack: Stack) -> None:
    stack.run("up", "--yes", "--skip-preview")
    outputs = stack.outputs()
    assert outputs["host_key"].startswith("ssh-ed25519 ")
    assert outputs["secret"].startswith("GK")
    stack.run("preview", "--expect-no-changes")
    stack.run("refresh", "--yes", "--expect-no-changes")


def test_a_secret_is_encrypted_in_the_state(stack: Stack) -> None:
    outputs = stack.outputs()
    compressed = next((stack.folder / "backend").glob("**/stacks/**/test.json.zst")).read_bytes()
    state = zstandard.decompress(compressed).decode()
    # A certificate's inputs have its authority's key, which is nobody's output of its own.
    for value in (outputs["secret"], *(key.splitlines()[1] for key in outputs["keys"])):
        assert value not in state
        assert value not in stack.run("stack", "output")
    assert "CERTIFICATE" in state and "PRIVATE KEY" not in state


def test_a_stopped_machine_is_shown_by_the_preview_and_healed_by_up(stack: Stack) -> None:
    lab.machine_power("engine-test-1", "power-off", stack.podman)
    said = stack.run("preview", "--diff")
    assert "is stopped; it will be started" in said
    before = stack.outputs()
    stack.run("up", "--yes", "--skip-preview")
    assert lab.labs(stack.podman)[0].machines == {"engine-test-1": "running"}
    assert stack.outputs() == before
    stack.run("preview", "--expect-no-changes")


def test_refresh_records_the_drift_and_up_heals_it(stack: Stack) -> None:
    lab.machine_power("engine-test-1", "freeze", stack.podman)
    stack.run("refresh", "--yes")
    stack.run("up", "--yes", "--skip-preview")
    assert lab.labs(stack.podman)[0].machines == {"engine-test-1": "running"}
    stack.run("preview", "--expect-no-changes")


def test_a_refused_input_ends_in_its_reason_before_anything_is_done(stack: Stack) -> None:
    said = stack.run("up", "--yes", "--skip-preview", ok=False, TEST_ADDRESS="10.91.1.999")
    assert "is not an IPv4 address" in said
    assert str(ROOT / "infra/providers/isthmus") not in said, "no traceback of the provider's"
    assert lab.labs(stack.podman)[0].machines == {"engine-test-1": "running"}


def test_a_half_made_machine_is_kept_and_finished_by_the_next_up(stack: Stack) -> None:
    # An address outside the network: podman refuses it, and the replacement is left to the next run.
    said = stack.run("up", "--yes", "--skip-preview", ok=False, TEST_ADDRESS="10.99.1.11")
    assert "10.99.1.11" in said
    assert str(ROOT / "infra/providers/isthmus") not in said, "no traceback of the provider's"
    stack.run("up", "--yes", "--skip-preview")
    assert lab.labs(stack.podman)[0].machines == {"engine-test-1": "running"}


def test_destroy_leaves_nothing(stack: Stack) -> None:
    stack.run("destroy", "--yes", "--skip-preview")
    assert lab.labs(stack.podman) == []
    assert stack.podman.containers() == []
