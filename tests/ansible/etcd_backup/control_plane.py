"""A control plane as far as the scripts of role etcd_backup see one, with a real member of etcd."""

from __future__ import annotations

import http.server
import re
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

KEYS = {
    "isthmus/encryption.yaml",
    *(f"pki/{name}" for name in ("ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.pub", "sa.key")),
    *(f"pki/etcd/{name}" for name in ("ca.crt", "ca.key")),
}
TLS = ["--trusted-ca-file", "--cert-file", "--key-file"]
PATIENCE_S = 60
CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
"""What `openssl req` makes keys of."""


@dataclass
class Host:
    """A control plane, as far as the scripts see one: folders, a member of etcd, and who keeps static pods running."""

    root: Path
    client: int
    peer: int
    api: int
    keep: int = 3
    running: dict[str, subprocess.Popen[bytes] | http.server.HTTPServer] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    values: dict[str, object] = field(default_factory=dict)
    """The role's variables."""

    def install(self, script: str, text: str) -> None:
        path = self.root / "bin" / script
        path.write_text(text)
        path.chmod(0o755)

    @property
    def kubernetes(self) -> Path:
        return self.root / "kubernetes"

    @property
    def manifests(self) -> Path:
        return self.kubernetes / "manifests"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics" / "isthmus_etcd_backup.prom"

    @property
    def backups(self) -> list[Path]:
        return sorted((self.root / "backups").glob("[0-9]*"))

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "bin" / program, *arguments], capture_output=True, text=True, timeout=180, check=False
        )

    def etcdctl(self, *arguments: str) -> str:
        pki = self.kubernetes / "pki" / "etcd"
        options = [f"--cacert={pki}/ca.crt", f"--cert={pki}/server.crt", f"--key={pki}/server.key"]
        done = self.run("etcdctl", f"--endpoints=https://127.0.0.1:{self.client}", *options, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keep_running(self) -> None:
        """As the kubelet does: what has a manifest runs, and what has none does not."""
        while not self.over.wait(0.1):
            for name, start in (("etcd", self._etcd), ("kube-apiserver", self._api)):
                wanted = (self.manifests / f"{name}.yaml").exists()
                if wanted and name not in self.running:
                    self.running[name] = start()
                elif not wanted and name in self.running:
                    self.stop(name)

    def stop(self, name: str) -> None:
        process = self.running[name]
        if isinstance(process, subprocess.Popen):
            process.terminate()
            process.wait(30)
        else:
            process.shutdown()
            process.server_close()
        del self.running[name]

    def _etcd(self) -> subprocess.Popen[bytes]:
        pki = self.kubernetes / "pki" / "etcd"
        names = re.findall(r"- (--.+)", (self.manifests / "etcd.yaml").read_text())
        files = [
            f"{option}={pki / name}" for option, name in zip(TLS, ("ca.crt", "server.crt", "server.key"), strict=True)
        ]
        url = f"https://127.0.0.1:{self.client}"
        listen = [f"--listen-client-urls={url}", f"--advertise-client-urls={url}", f"--data-dir={self.root}/data"]
        peers = [
            f"--listen-peer-urls=http://127.0.0.1:{self.peer}",
            f"--initial-cluster=one=http://127.0.0.1:{self.peer}",
        ]
        with (self.root / "etcd.log").open("ab") as log:
            return subprocess.Popen(
                [self.root / "bin" / "etcd", *names, *listen, *peers, *files, "--client-cert-auth"],
                stdout=log,
                stderr=log,
            )

    def _api(self) -> http.server.HTTPServer:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.api), Ready)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


class Ready(http.server.BaseHTTPRequestHandler):
    """An API server that is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def until(true: Callable[[], bool], otherwise: str) -> None:
    """Waits, and fails with what is said otherwise."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


def answers(host: Host) -> bool:
    """Whether its member of etcd does."""
    with suppress(AssertionError):
        host.etcdctl("--command-timeout=1s", "endpoint", "health")
        return True
    return False


def told(host: Host) -> dict[str, float]:
    """What the node exporter reads of its backups: metric -> value."""
    lines = host.metrics.read_text().splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))}
