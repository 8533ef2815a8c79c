"""The part of a cluster that is missing here: nodes, which run pods. They only ever write a pod's status."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from tests.providers.offline.kubernetes.conftest import ApiServer

READY: dict[str, Any] = {
    "phase": "Running",
    "podIP": "10.1.0.7",
    "podIPs": [{"ip": "10.1.0.7"}],
    "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
}

SUCCEEDED: dict[str, Any] = {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}


def waiting(reason: str, message: str) -> dict[str, Any]:
    """A container that cannot start."""
    state = {"waiting": {"reason": reason, "message": message}}
    container = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"phase": "Pending", "containerStatuses": [container]}


def failed(code: int) -> dict[str, Any]:
    """A container that ended in failure."""
    state = {"terminated": {"exitCode": code, "reason": "Error"}}
    container = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"phase": "Failed", "containerStatuses": [container]}


@dataclass
class Nodes:
    """Gives every pod of a namespace the status `says`, as long as it is set."""

    server: ApiServer
    namespace: str
    says: dict[str, Any] | None = None
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """In a thread of its own."""
        thread = threading.Thread(target=self._loop, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _loop(self) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        while not self._ended.wait(0.3):
            says = self.says
            if says is None:
                continue
            # A pod may go while it is looked at.
            with contextlib.suppress(httpx.HTTPError):
                for pod in (self.server.request("GET", path) or {}).get("items", []):
                    if any(pod["status"].get(key) != says[key] for key in says.keys() & {"phase", "containerStatuses"}):
                        self.server.patch(f"{path}/{pod['metadata']['name']}/status", {"status": says})
