"""Two hosts that share a folder, with the driver's image out of the mirror, in a store of podman's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.artifacts import Index
from infra.paths import CACHE
from infra.providers.isthmus import hostprep
from infra.providers.isthmus.podman import CGROUP_PARENT, Podman
from ops.mirror.registry import Server
from ops.mirror.sync import sync
from tests.providers.csi.hosts import Host


@dataclass(frozen=True)
class Lab:
    """The hosts, and what of the lab is on the machine that runs it."""

    one: Host
    two: Host
    folder: Path

    def devices(self) -> list[str]:
        """The loop devices of the pool's image, by the file itself: the host does not know it by the same path."""
        command = ["losetup", "--noheadings", "--output", "NAME", "--associated", str(self.folder / "pool.btrfs")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    # Of the conformance test only this has need, so that no environment asks for it.
    sync(["lab-csi", "csi-sanity"])
    index = Index.load()
    image, registry, sanity = (index.artifact(name) for name in ("lab-csi", "registry", "csi-sanity"))
    # Not pytest's tmp_path: podman's sockets need short paths, and its storage must not outlive a failed test.
    store = Path(tempfile.mkdtemp(prefix="isthmus-csi-"))
    podman = Podman(root=store / "podman", run=store / "run")
    server = Server(lambda: registry.local, CACHE / "mirror" / "registry", store / "registry.log")
    folder = store / f"nas-{store.name}"
    folder.mkdir()
    try:
        with server.running():
            source = f"{server.address}/{image.image.rpartition(':')[0]}@{image.digest}"
            direct = {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}
            pull = podman.command("pull", "--quiet", "--tls-verify=false", source)
            tag = subprocess.run(pull, capture_output=True, text=True, env=direct, check=True).stdout.strip()
        hosts = [Host(podman, f"csi-test-{number}", tag, folder, sanity.local) for number in (1, 2)]
        for host in hosts:
            host.start()
        yield Lab(*hosts, folder)
    finally:
        for container in podman.containers():
            podman.remove(container["Id"])
            hostprep.remove_cgroups(f"{CGROUP_PARENT}/libpod-{container['Id']}")
        podman("rmi", "--all", "--force")
        hostprep.attempt("umount", str(podman.root / "overlay"))
        shutil.rmtree(store, ignore_errors=True)
