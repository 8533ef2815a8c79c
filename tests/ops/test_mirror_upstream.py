"""Copying from upstream: sums, archives and resumption, against a server on loopback."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.mirror import upstream
from ops.mirror.catalog import File
from ops.mirror.golang import output_name
from ops.mirror.store import Store
from ops.mirror.work import StepFailed, explain

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    "text",
    [A, f"{A}\n", f"{A}  tool.tar.gz\n", f"{B}  other.tar.gz\n{A} *tool.tar.gz\n", f"SHA256 {A} tool.tar.gz\n"],
)
def test_the_sum_of_a_download_is_found_in_any_usual_form(text: str) -> None:
    assert upstream.published_sum(text, "https://example.org/v1/tool.tar.gz") == A


@pytest.mark.parametrize("text", ["", "<html>not found</html>", f"{A} x\n{B} y\n"])
def test_a_checksum_file_that_does_not_tell_is_refused(text: str) -> None:
    with pytest.raises(StepFailed, match="checksum file"):
        upstream.published_sum(text, "https://example.org/tool.tar.gz")


class Publisher:
    """Serves files, with ranges; remembers what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                start = int(self.headers.get("Range", "bytes=0-")[6:-1])
                publisher.asked.append(f"{self.path} from {start}")
                content = publisher.files.get(self.path)
                self.send_response(404 if content is None else 206 if start else 200)
                body = (content or b"")[start:]
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def file(self, path: str, **more: Any) -> File:
        # A loopback publisher has no certificate, so the rule "https only" is stepped around here.
        base = f"http://127.0.0.1:{self.server.server_address[1]}"
        fields: dict[str, Any] = {"sha256": None, "checksums": None, "member": None, "extras": (), "version": None}
        return File.model_construct(None, **{**fields, "url": base + path, **more})


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setattr(upstream, "CACHE", tmp_path / "cache")
    served = Publisher()
    yield served
    served.server.shutdown()


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"./bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_a_program_is_taken_out_of_its_archive_and_held_to_its_sum(publisher: Publisher, tmp_path: Path) -> None:
    content = archive(tool=b"program", helper=b"script")
    publisher.files = {"/t.tgz": content}
    wanted = publisher.file(
        "/t.tgz", sha256=hashlib.sha256(content).hexdigest(), member="bin/tool", extras=("bin/helper",)
    )
    program, _ = upstream.fetch_file("tool", wanted, tmp_path, tmp_path / "log")
    assert program.read_bytes() == b"program"
    assert (tmp_path / "helper").read_bytes() == b"script"
    assert program.stat().st_mode & 0o111 == 0o111


def test_another_content_than_the_pinned_one_is_refused_and_not_kept(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files = {"/tool": b"evil"}
    with pytest.raises(StepFailed, match="checksum mismatch"):
        upstream.fetch_file("tool", publisher.file("/tool", sha256=A), tmp_path, tmp_path / "log")
    assert not (tmp_path / "tool").exists()
    assert not list((tmp_path / "cache").rglob(A))


def test_an_interrupted_download_goes_on_where_it_stopped(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files = {"/tool": b"0123456789"}
    digest = hashlib.sha256(b"0123456789").hexdigest()
    part = tmp_path / "cache" / "mirror" / "downloads" / f"{digest}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"0123")
    program, _ = upstream.fetch_file("tool", publisher.file("/tool", sha256=digest), tmp_path, tmp_path / "log")
    assert program.read_bytes() == b"0123456789"
    assert publisher.asked == ["/tool from 4"]


def test_what_is_not_there_is_told_with_its_address(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"/gone.*404"):
        upstream.fetch_file("tool", publisher.file("/gone", sha256=A), tmp_path, tmp_path / "log")


def test_a_site_without_the_publisher_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(method: str, url: str, **_: object) -> None:
        asked.append(f"{method} {url}")
        raise upstream.httpx.ConnectError("no route")

    monkeypatch.setattr(upstream.httpx, "request", refuse)
    reach = upstream.Reach()
    wanted = File(url="https://example.org/tool", sha256=A, checksums=None)
    assert not reach(wanted)
    assert not reach(wanted)
    assert asked == ["HEAD https://example.org/tool"]


@pytest.mark.parametrize(
    ("package", "name"),
    [("k8s.io/kubernetes/cmd/kubeadm", "kubeadm"), ("go.etcd.io/etcd/server/v3", "server"), ("a.org/x/v2/cmd/y", "y")],
)
def test_programs_are_named_as_go_names_them(package: str, name: str) -> None:
    assert output_name(package) == name


@pytest.mark.parametrize(
    ("output", "reason", "fix"),
    [
        ("go: example.org/x@v1: reading https://proxy: 403 Forbidden", "403 Forbidden", "pin another"),
        ("note\nerror: linker `cc` not found\nmake: *** stop", "linker", "run it again"),
        ("E: the cause\nI: cleaning\nE: mmdebstrap failed to run", "the cause", "run it again"),
        ("write: No space left on device", "No space left", "free some disk space"),
    ],
)
def test_a_failed_build_is_told_by_the_line_that_matters(tmp_path: Path, output: str, reason: str, fix: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"$ tool --require-hashes\n{output}\n")
    failure = explain("tool ended with 1", log)
    assert reason in str(failure)
    assert fix in failure.fix


def test_a_record_that_cannot_be_read_is_no_artefact(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.folder("x", "key")
    folder.mkdir(parents=True)
    assert store.find("x", "key") is None
    (folder / "meta.json").write_text('{"name": "x"')
    assert store.find("x", "key") is None
