"""Hosts of a lab, as far as storage goes: containers that run the driver's image and share one folder."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.providers.isthmus import hostprep
from infra.providers.isthmus.podman import CGROUP_PARENT, Podman

SOCKET = "/csi/csi.sock"
MIB = 1024**2
POOL = 20 * 1024 * MIB
WRITERS = "MULTI_NODE_MULTI_WRITER"
PYTHON = "/usr/bin/python3.11"


class Refused(Exception):
    """CSI's code and message."""


def capability() -> dict[str, Any]:
    return {"mount": {}, "access_mode": {"mode": WRITERS}}


@dataclass(frozen=True)
class Host:
    """One host with the driver's both parts, which a cluster has on different ones."""

    podman: Podman
    name: str
    image: str
    folder: Path
    sanity: Path

    def start(self, capacity: int = POOL) -> None:
        """Boot it, and wait until the driver answers."""
        self.podman(
            *("run", "--detach", "--privileged", "--network=none", "--name", self.name),
            *("--cgroup-parent", f"/{CGROUP_PARENT}", "--log-driver=k8s-file", *hostprep.Host.detect().ulimits()),
            *("--volume", f"{self.folder}:/srv/nas", "--volume", f"{self.sanity}:/csi-sanity:ro", self.image),
            *("--folder=/srv/nas", f"--capacity={capacity}", f"--socket={SOCKET}"),
            *("--controller", f"--node={self.name}"),
        )
        self.call("Identity", "Probe")

    def lose_power(self) -> None:
        """Every process of it ends at once."""
        self.podman("kill", "--signal", "KILL", self.name)
        deadline = time.monotonic() + 20
        while self.podman.containers(f"name=^{self.name}$")[0]["State"] == "running":
            assert time.monotonic() < deadline, f"{self.name} does not die"
            time.sleep(0.1)

    def remove(self) -> None:
        self.podman.remove(self.name)

    def python(self, text: str, *arguments: str) -> str:
        """What a program prints that runs on the host."""
        return self.podman("exec", "--interactive", self.name, PYTHON, "-", *arguments, stdin=text)

    def call(self, service: str, method: str, **request: Any) -> dict[str, Any]:
        """The answer. Raises Refused."""
        text = (Path(__file__).parent / "call.py").read_text()
        said = json.loads(self.python(text, SOCKET, json.dumps([[service, method, request]])))
        if "code" in said:
            raise Refused(f"{said['code']}: {said['message']}")
        return said["answer"]

    def create(self, name: str, size: int, **source: Any) -> str:
        """A volume's id."""
        request: dict[str, Any] = {"name": name, "volume_capabilities": [capability()]}
        request["capacity_range"] = {"required_bytes": size}
        if source:
            request["volume_content_source"] = source
        return self.call("Controller", "CreateVolume", **request)["volume"]["volume_id"]

    def publish(self, volume: str, path: str, **more: Any) -> None:
        """Shows a volume to a pod of this host."""
        request = {"volume_id": volume, "target_path": path, "volume_capability": capability(), **more}
        self.call("Node", "NodePublishVolume", **request)

    def write(self, path: str, size: int, fill: str = "r") -> str:
        """Writes and syncs so many bytes; what went wrong, or nothing."""
        text = """
import os, sys
path, size, fill = sys.argv[1], int(sys.argv[2]), sys.argv[3]
try:
    with open(path, "wb", buffering=0) as file:
        while size > 0:
            size -= file.write((os.urandom(1 << 20) if fill == "r" else fill.encode() * (1 << 20))[:size])
        os.fsync(file.fileno())
except OSError as error:
    print(os.strerror(error.errno))
"""
        return self.python(text, path, str(size), fill).strip()

    def read(self, path: str) -> str:
        """A digest of a file."""
        text = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())"
        return self.python(text, path).strip()
