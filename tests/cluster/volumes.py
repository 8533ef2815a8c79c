"""Claims and pods for tests of volumes, in a namespace of their own that goes with the test."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from infra.naming import STORAGE_CLASS
from infra.paths import state
from ops import cluster
from ops.console import Failure

WRITE = """
import os, sys
path, size = sys.argv[1], int(sys.argv[2])
try:
    with open(path, "wb", buffering=0) as file:
        while size > 0:
            size -= file.write(os.urandom(min(size, 1 << 20)))
        os.fsync(file.fileno())
except OSError as error:
    print(os.strerror(error.errno))
"""
READ = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())"
FULL = "Disk quota exceeded"


@dataclass(frozen=True)
class Volumes:
    """One namespace of one site."""

    environment: str
    site: str
    namespace: str
    image: str

    def kubectl(self, *arguments: str, timeout: float = 30) -> str:
        return cluster.kubectl(self.environment, "-n", self.namespace, *arguments, timeout=timeout, site=self.site)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def apply(self, kind: str, name: str, api: str = "v1", **body: Any) -> None:
        manifest = {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **body}
        path = state(self.environment) / f"{self.namespace}-{name}.json"
        path.write_text(json.dumps(manifest))
        try:
            self.kubectl("apply", "-f", str(path))
        finally:
            path.unlink()

    def claim(
        self,
        name: str,
        size: str,
        *,
        of: str = STORAGE_CLASS,
        mode: str = "ReadWriteOnce",
        source: tuple[str, str] | None = None,
    ) -> None:
        """Makes a claim, from another (PersistentVolumeClaim) or a VolumeSnapshot if `source` names one, and waits."""
        spec: dict[str, Any] = {"storageClassName": of, "accessModes": [mode]}
        spec["resources"] = {"requests": {"storage": size}}
        if source:
            kind, origin = source
            group = {"apiGroup": "snapshot.storage.k8s.io"} if kind == "VolumeSnapshot" else {}
            spec["dataSource"] = {"kind": kind, "name": origin, **group}
        self.apply("PersistentVolumeClaim", name, spec=spec)
        # Long enough for the driver's controller to move away from a host that has just been lost.
        self.until(120, lambda: self.get("pvc", name)["status"]["phase"] == "Bound", f"claim {name} is not bound")

    def snapshot(self, name: str, claim: str) -> None:
        """A snapshot of a claim's volume, once it can be used."""
        spec = {"source": {"persistentVolumeClaimName": claim}}
        self.apply("VolumeSnapshot", name, "snapshot.storage.k8s.io/v1", spec=spec)
        ready = lambda: self.get("volumesnapshot", name).get("status", {}).get("readyToUse") is True  # noqa: E731
        self.until(60, ready, f"snapshot {name} is not ready")

    def pod(self, name: str, claim: str, *, node: str | None = None) -> None:
        """A pod that waits, with the claim's volume at /data; on a node if one is named."""
        container = {
            "name": "main",
            "image": self.image,
            "command": ["/usr/bin/python3.11", "-c", "import signal; signal.pause()"],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "resources": {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
        }
        spec: dict[str, Any] = {
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
        }
        if node:
            spec["nodeSelector"] = {"kubernetes.io/hostname": node}
        self.apply("Pod", name, spec=spec)
        self.until(120, lambda: cluster.ready(self.get("pod", name)), f"pod {name} is not ready")

    def python(self, pod: str, text: str, *arguments: str) -> str:
        """What a program prints in a pod."""
        return self.kubectl("exec", pod, "--", "/usr/bin/python3.11", "-c", text, *arguments, timeout=90).strip()

    def write(self, pod: str, file: str, mebibytes: int) -> str:
        """Writes and syncs; what went wrong, or nothing."""
        return self.python(pod, WRITE, f"/data/{file}", str(mebibytes << 20))

    def read(self, pod: str, file: str) -> str:
        """A digest of a file."""
        return self.python(pod, READ, f"/data/{file}")

    def until(self, seconds: float, true: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + seconds
        while not _true_now(true):
            if time.monotonic() > deadline:
                told = self.kubectl("get", "events", "--sort-by=.lastTimestamp")
                raise AssertionError(f"{otherwise} after {seconds:.0f} s:\n{told[-3000:]}")
            time.sleep(0.5)


def _true_now(true: Callable[[], bool]) -> bool:
    """Whether something is true; while a host is lost, the API may not answer for a moment."""
    try:
        return true()
    except Failure:
        return False


@contextmanager
def volumes(environment: str, site: str = "onprem") -> Iterator[Volumes]:
    """A namespace; what it holds is deleted with it, and that deletion is waited for."""
    found = cluster.items(environment, "deployments", "-n", "workloads", site=site)
    image = next(
        one["spec"]["template"]["spec"]["containers"][0]["image"]
        for one in found
        if one["metadata"]["name"] == "inference"
    )
    name = f"volumes-{uuid.uuid4().hex[:6]}"
    cluster.kubectl(environment, "create", "namespace", name, site=site)
    try:
        yield Volumes(environment, site, name, image)
    finally:
        cluster.kubectl(environment, "delete", "namespace", name, "--timeout=120s", timeout=130, site=site)
