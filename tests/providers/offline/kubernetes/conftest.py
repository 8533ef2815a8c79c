"""A real etcd, API server and controllers on loopback, without nodes, for the kubernetes stand-in to work on."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import ssl
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from infra.artifacts import ArtifactError, Index
from infra.paths import BIN
from tests.ports import free_ports
from tests.providers.offline.engine import Stack
from tests.providers.offline.kubernetes import engine
from tests.providers.offline.kubernetes.nodes import Nodes

TOKEN = "loopback-only"
START_SECONDS = 90
CONTROLLERS = ("deployment", "endpointslice", "garbage-collector", "job", "namespace", "replicaset", "statefulset")


def tool(name: str, artifact: str | None = None) -> str:
    """A program from PATH, the checkout's tools or the mirror; the test is skipped where none has it."""
    if path := shutil.which(name, path=f"{os.environ['PATH']}:{BIN}"):
        return path
    try:
        return str(Index.load().artifact(artifact or name).local)
    except ArtifactError as error:
        pytest.skip(f"{name}: {error}")


@dataclass(frozen=True, kw_only=True)
class ApiServer:
    """Where the API server answers."""

    url: str
    ca: Path

    @property
    def kubeconfig(self) -> dict[str, Any]:
        """Of a user who may do everything."""
        authority = base64.b64encode(self.ca.read_bytes()).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "loopback", "cluster": {"server": self.url, "certificate-authority-data": authority}}
            ],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "admin", "context": {"cluster": "loopback", "user": "admin"}}],
            "current-context": "admin",
        }

    @property
    def kubeconfig_text(self) -> str:
        """As a program passes it to the provider."""
        return yaml.safe_dump(self.kubeconfig)

    def request(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """One request past the stand-in, as another user of the cluster would send it."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        trust = ssl.create_default_context(cafile=str(self.ca))
        answer = httpx.request(method, self.url + path, headers=headers, json=body, verify=trust, timeout=30)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return answer.json()

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        """A merge patch, such as a controller's on a status."""
        return self.request("PATCH", path, body, kind="application/merge-patch+json")


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Started once for all tests; each works in a namespace of its own."""
    binaries = (
        tool("etcd"),
        tool("kube-apiserver", "kube-apiserver-binary"),
        tool("kube-controller-manager", "kube-controller-manager-binary"),
    )
    folder = tmp_path_factory.mktemp("apiserver")
    client, peer, secure = free_ports(3)
    _service_account_key(folder)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    etcd = [
        binaries[0],
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
    ]
    api = [
        binaries[1],
        f"--etcd-servers=http://127.0.0.1:{client}",
        f"--secure-port={secure}",
        "--bind-address=127.0.0.1",
        # No Service points at this server, and loopback may not be one's endpoint.
        "--endpoint-reconciler-type=none",
        f"--cert-dir={folder}/certs",
        f"--token-auth-file={folder}/tokens.csv",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder}/sa.key",
        f"--service-account-signing-key-file={folder}/sa.key",
        "--service-cluster-ip-range=10.0.0.0/24",
        # The controller that makes service accounts does not run here.
        "--disable-admission-plugins=ServiceAccount",
    ]
    controllers = [
        binaries[2],
        f"--kubeconfig={folder}/kubeconfig",
        f"--controllers={','.join(f'{name}-controller' for name in CONTROLLERS)}",
        "--leader-elect=false",
        "--secure-port=0",
    ]
    server = ApiServer(url=f"https://127.0.0.1:{secure}", ca=folder / "certs" / "apiserver.crt")
    with contextlib.ExitStack() as running:
        for command in (etcd, api):
            running.enter_context(_process(command, folder))
        _wait(server, folder)
        (folder / "kubeconfig").write_text(server.kubeconfig_text)
        running.enter_context(_process(controllers, folder))
        yield server


@contextlib.contextmanager
def _process(command: list[str], folder: Path) -> Iterator[None]:
    with (folder / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def _service_account_key(folder: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "sa.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


def _wait(server: ApiServer, folder: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError):
            if server.ca.exists() and server.request("GET", "/api/v1/namespaces/default") is not None:
                return
        time.sleep(0.3)
    tails = [path.read_text()[-2000:] for path in sorted(folder.glob("*.log"))]
    raise RuntimeError("the API server did not start:\n" + "\n---\n".join(tails))


@pytest.fixture
def namespace(apiserver: ApiServer) -> str:
    """A fresh namespace; it ends with the API server."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    apiserver.request("POST", "/api/v1/namespaces", body)
    return name


@pytest.fixture
def nodes(apiserver: ApiServer, namespace: str) -> Iterator[Nodes]:
    """What stands for the nodes: it gives the namespace's pods the status that a test wants."""
    made = Nodes(server=apiserver, namespace=namespace)
    with made.running():
        yield made


@pytest.fixture
def stack(apiserver: ApiServer, tmp_path: Path) -> Stack:
    """An engine with an empty program on the API server."""
    for name in ("pulumi", "pulumi-language-python", "pulumi-language-python-exec"):
        tool(name)
    return engine.stack(tmp_path / "project", apiserver.kubeconfig_text)
