"""Prometheus, Alertmanager and the view over both sites, through a port that kubectl forwards; the status page."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from infra.platform.monitoring import names, sending
from ops import cluster, engine

T = TypeVar("T")


def get(url: str) -> httpx.Response:
    """A good answer."""
    answer = httpx.get(url, timeout=10, trust_env=False)
    answer.raise_for_status()
    return answer


def page(url: str) -> dict[str, Any]:
    """What a status page tells of its site, once it knows every part of it."""

    def known() -> dict[str, Any] | None:
        found = get(f"{url}/api/site").json()
        return found if not [part for part in ("cluster", "champion", "alerts") if found[part]["fault"]] else None

    return eventually(60, known, lambda: get(f"{url}/api/site").text)


@dataclass(frozen=True)
class Api:
    """The HTTP API of one pod."""

    client: httpx.Client

    def get(self, path: str, **parameters: str) -> Any:
        """The JSON that it answers."""
        answer = self.client.get(path, params=parameters)
        answer.raise_for_status()
        return answer.json()

    def query(self, expression: str, **parameters: str) -> list[dict[str, Any]]:
        """Prometheus' series for an expression."""
        return self.get("/api/v1/query", query=expression, **parameters)["data"]["result"]

    def targets(self) -> list[dict[str, Any]]:
        """What Prometheus reads, and how it went."""
        return self.get("/api/v1/targets", state="active")["data"]["activeTargets"]


@contextmanager
def api(environment: str, site: str, target: str, port: int, *, server: str | None = None) -> Iterator[Api]:
    """The API behind `target` (svc/prometheus) in monitoring's namespace; the forwarding ends with the test.

    `server`: the API server on whose way it is, where the floating address may lead to one that is lost.
    """
    with _forwarded(environment, site, target, port, server) as local:  # noqa: SIM117
        with httpx.Client(base_url=f"http://127.0.0.1:{local}", timeout=20, trust_env=False) as client:
            yield Api(client)


@contextmanager
def view(environment: str) -> Iterator[Api]:
    """The view over both sites, which is on-prem; asked with the key of that site's own Prometheus."""
    with _forwarded(environment, "onprem", f"svc/{names.VIEW}", names.VIEW_PORT, None) as local:  # noqa: SIM117
        with httpx.Client(
            base_url=f"https://127.0.0.1:{local}", verify=_key(environment), timeout=20, trust_env=False
        ) as client:
            yield Api(client)


def _key(environment: str) -> ssl.SSLContext:
    secret = cluster.kubectl(environment, "get", "secret", sending.SECRET, "-n", names.NAMESPACE, "-o", "json")
    files = {name: base64.b64decode(value) for name, value in json.loads(secret)["data"].items()}
    context = ssl.create_default_context(cadata=files["ca.crt"].decode())
    # Forwarded, it is asked at another name; no other certificate is trusted.
    context.check_hostname = False
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        context.load_cert_chain(Path(folder, "tls.crt"), Path(folder, "tls.key"))
    return context


@contextmanager
def _forwarded(environment: str, site: str, target: str, port: int, server: str | None) -> Iterator[int]:
    """The port of this machine that leads there."""
    settings = {**os.environ, **engine.variables(environment)}
    settings["KUBECONFIG"] = str(cluster.kubeconfig_file(environment, site))
    way = ["--server", server] if server else []
    command = ["kubectl", *way, "port-forward", "-n", names.NAMESPACE, target, f":{port}"]
    forwarding = subprocess.Popen(command, env=settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert forwarding.stdout
        told = forwarding.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", told)
        assert found, f"kubectl forwards nothing: {told}"
        yield int(found[1])
    finally:
        forwarding.terminate()
        forwarding.wait(10)


def eventually(seconds: float, found: Callable[[], T | None], otherwise: Callable[[], str]) -> T:
    """What `found` gives once it gives something; what is told `otherwise` is the test's failure."""
    deadline = time.monotonic() + seconds
    while True:
        if (result := found()) is not None:
            return result
        assert time.monotonic() < deadline, otherwise()
        time.sleep(3)
