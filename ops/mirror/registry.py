"""The site's OCI registry: its storage as files, and a server on loopback while a sync pushes.

An image H/P:T is repository H/P, tag T. A file is a blob of repository files/<name>, held by a small manifest, so nodes
fetch it with a plain GET of /v2/files/<name>/blobs/sha256:<sha256>.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from ops.mirror.store import sha256
from ops.mirror.work import StepFailed

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = b"{}"
MANIFEST_TYPES = (
    MANIFEST,
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


def split(ref: str) -> tuple[str, str]:
    """Repository and tag of a canonical image name."""
    repository, _, tag = ref.rpartition(":")
    return repository, tag


def file_manifest(digest: str, size: int) -> bytes:
    """What holds a file in the registry; equal files have equal ones."""
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.isthmus.file",
        "config": {
            "digest": digest_of(EMPTY),
            "size": len(EMPTY),
            "mediaType": "application/vnd.oci.empty.v1+json",
        },
        "layers": [{"digest": digest, "size": size, "mediaType": "application/octet-stream"}],
    }
    return json.dumps(manifest).encode()


def digest_of(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Storage:
    """The registry's folder, read without a server: is it there, is it whole."""

    def __init__(self, root: Path) -> None:
        self.base = root / "docker" / "registry" / "v2"

    def blob(self, digest: str) -> Path:
        value = digest.removeprefix("sha256:")
        return self.base / "blobs" / "sha256" / value[:2] / value / "data"

    def tagged(self, repository: str, tag: str) -> str | None:
        """The digest that a tag points to, or None."""
        link = self.base / "repositories" / repository / "_manifests" / "tags" / tag / "current" / "link"
        return link.read_text().strip() if link.exists() else None

    def holds(self, repository: str, tag: str, digest: str) -> bool:
        """Whether the tag points to that manifest and its content is there."""
        return self.tagged(repository, tag) == digest and self.blob(digest).exists()

    def holds_file(self, digest: str, size: int) -> bool:
        """Whether the file is there, and what holds it."""
        return self.blob(digest).exists() and self.blob(digest_of(file_manifest(digest, size))).exists()

    def parts(self, digest: str) -> list[str]:
        """Digests of everything a manifest refers to, itself included."""
        found = [digest]
        with contextlib.suppress(FileNotFoundError, ValueError):
            manifest = json.loads(self.blob(digest).read_text())
            below = [*manifest.get("layers", []), *([manifest["config"]] if "config" in manifest else [])]
            found += [part["digest"] for part in below]
            for child in manifest.get("manifests", []):
                # An index may name platforms that were not copied.
                if self.blob(child["digest"]).exists():
                    found += self.parts(child["digest"])
        return list(dict.fromkeys(found))

    def size(self, digest: str) -> int:
        """Bytes that a pull of the manifest transfers."""
        return sum(self.blob(part).stat().st_size for part in self.parts(digest) if self.blob(part).exists())

    def damage(self, digest: str) -> list[str]:
        """What of a manifest's content is missing or is not what its digest says."""
        faults = []
        for part in self.parts(digest):
            path = self.blob(part)
            if not path.exists():
                faults.append(f"{part[:19]} is missing in the registry")
            elif f"sha256:{sha256(path)}" != part:
                faults.append(f"{part[:19]} is damaged in the registry ({path})")
        return faults


class Server:
    """The registry as a child process on loopback, started when first needed."""

    def __init__(self, program: Callable[[], Path], storage: Path, log: Path) -> None:
        self._program, self._storage, self._log = program, storage, log
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._port = 0

    @property
    def address(self) -> str:
        """Host and port of the running server."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
        return f"127.0.0.1:{self._port}"

    def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._storage.mkdir(parents=True, exist_ok=True)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        settings = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self._storage)}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{self._port}"},
        }
        config = self._log.with_suffix(".json")
        config.write_text(json.dumps(settings))  # JSON is YAML
        self._end_orphan(config)
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen(
                [self._program(), "serve", config],
                stdout=sink,
                stderr=sink,
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            )
        config.with_suffix(".pid").write_text(str(self._process.pid))
        for _ in range(100):
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{self._port}/v2/", timeout=1)
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise StepFailed(f"the registry did not start on loopback (log: {self._log})")

    def _end_orphan(self, config: Path) -> None:
        """Ends the server that a killed sync left; the caller is the only one at work on this storage."""
        note = config.with_suffix(".pid")
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int(note.read_text())
            # The number may have gone to another program since.
            if str(config).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGTERM)

    def stop(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.terminate()
                self._process.wait()
                self._process = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        try:
            yield self
        finally:
            self.stop()

    def _client(self) -> httpx.Client:
        # No proxy of the environment may come between: this is loopback.
        return httpx.Client(base_url=f"http://{self.address}", timeout=300, trust_env=False)

    def put_file(self, name: str, tag: str, path: Path) -> str:
        """Stores a file as a blob of files/<name> and tags its manifest; returns the manifest's digest."""
        repository = f"files/{name}"
        with self._client() as client:
            digest, size = self._put_blob(client, repository, path)
            self._put_blob(client, repository, EMPTY)
            return self._put_manifest(client, repository, tag, file_manifest(digest, size), MANIFEST)

    def retag(self, repository: str, tag: str, digest: str) -> None:
        """Points a tag to a manifest that the registry holds."""
        with self._client() as client:
            got = client.get(f"/v2/{repository}/manifests/{digest}", headers={"Accept": ", ".join(MANIFEST_TYPES)})
            _ok(got)
            self._put_manifest(client, repository, tag, got.content, got.headers["Content-Type"])

    @staticmethod
    def _put_manifest(client: httpx.Client, repository: str, tag: str, body: bytes, kind: str) -> str:
        put = client.put(f"/v2/{repository}/manifests/{tag}", content=body, headers={"Content-Type": kind})
        _ok(put)
        return digest_of(body)

    @staticmethod
    def _put_blob(client: httpx.Client, repository: str, content: Path | bytes) -> tuple[str, int]:
        if isinstance(content, Path):
            digest, size = f"sha256:{sha256(content)}", content.stat().st_size
        else:
            digest, size = digest_of(content), len(content)
        if client.head(f"/v2/{repository}/blobs/{digest}").status_code != 200:
            begun = client.post(f"/v2/{repository}/blobs/uploads/")
            _ok(begun)
            where = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": digest})
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            with contextlib.ExitStack() as stack:
                body = stack.enter_context(content.open("rb")) if isinstance(content, Path) else content
                _ok(client.put(where, content=body, headers=headers))
        return digest, size


def _ok(response: httpx.Response) -> None:
    if response.status_code >= 300:
        raise StepFailed(
            f"the registry answered {response.status_code} to {response.request.url}: {response.text[:120]}"
        )
