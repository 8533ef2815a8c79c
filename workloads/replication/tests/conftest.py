"""Two buckets, models to publish in one of them, and links between that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from isthmus_replication.follow import Follower
from isthmus_replication.settings import load
from isthmus_training.manifest import Model, canonical, digest

ALIAS = "models/digits/aliases/champion.json"


class Link:
    """A TCP relay to a store. It notes requests, and can be cut: now, after so many bytes of answers, or at a request.

    `cut_at` is a pattern of the request's first line. `stall_after` makes it a link on which nothing arrives any more,
    but which nobody has hung up.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.requests: list[str] = []
        self.answered = 0  # bytes
        self.cut_after: int | None = None
        self.cut_at: str | None = None
        self.stall_after: int | None = None
        self.is_cut, self.has_stalled = threading.Event(), threading.Event()
        self.ends: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.listen, daemon=True).start()

    def cut(self) -> None:
        self.is_cut.set()
        for end in list(self.ends):
            hang_up(end)

    def heal(self) -> None:
        self.cut_after = self.cut_at = None
        self.is_cut.clear()

    def writes(self) -> list[str]:
        """The files that were sent, in order; the parts of one count once."""
        names = [re.split(r"[? ]", r)[1].split("/")[-1] for r in self.requests if r.startswith(("PUT", "POST"))]
        return [name for at, name in enumerate(names) if not at or names[at - 1] != name]

    def ranges(self, name: str) -> list[int]:
        """Where each ranged read of a file began."""
        found = [re.search(r" bytes=(\d+)-", r) for r in self.requests if f"{name} " in r]
        return [int(match[1]) for match in found if match]

    def listen(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut.is_set():
                hang_up(client)
                continue
            server = socket.create_connection(self.target)
            self.ends |= {client, server}
            threading.Thread(target=self.upward, args=(client, server), daemon=True).start()
            threading.Thread(target=self.downward, args=(server, client), daemon=True).start()

    def upward(self, client: socket.socket, server: socket.socket) -> None:
        """Requests. One that `cut_at` names does not arrive."""

        def pass_on(data: bytes) -> bool:
            if head := re.match(rb"(GET|HEAD|PUT|POST|DELETE) (\S+)", data):
                wanted = re.search(rb"(?i)\r\nrange: (\S+)", data.split(b"\r\n\r\n")[0])
                self.requests.append(f"{head[1].decode()} {head[2].decode()} {wanted[1].decode() if wanted else ''}")
                if self.cut_at and re.match(self.cut_at, self.requests[-1]):
                    self.cut()
                    return False
            server.sendall(data)
            return True

        pump(client, server, pass_on)

    def downward(self, server: socket.socket, client: socket.socket) -> None:
        """Answers, up to the byte at which the link is to be cut."""

        def pass_on(data: bytes) -> bool:
            room = len(data) if self.cut_after is None else max(0, self.cut_after - self.answered)
            client.sendall(data[:room])
            self.answered += len(data[:room])
            if room < len(data):
                self.cut()
                return False
            if self.stall_after is not None and self.answered >= self.stall_after:
                self.has_stalled.set()
                threading.Event().wait()
            return True

        pump(server, client, pass_on)


def hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side was first
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def pump(source: socket.socket, sink: socket.socket, pass_on: Callable[[bytes], bool]) -> None:
    try:
        while (data := source.recv(65536)) and pass_on(data):
            pass
    except OSError:
        pass
    for end in (source, sink):
        hang_up(end)


def of(onnx: bytes, /, **change: Any) -> Model:
    """A model as training would describe it. What is in the ONNX file is nothing that replication looks at."""
    manifest = {"format": 1, "model": "digits", "onnx": {"digest": digest(onnx), "size": len(onnx)}, **change}
    version = digest(canonical(manifest))[-16:]
    return Model(version=version, onnx=onnx, manifest=canonical({"version": version, **manifest}))


@pytest.fixture
def model() -> Callable[..., Model]:
    return of


@pytest.fixture
def source(new_bucket: Callable[[], Any]) -> Any:
    return new_bucket()


@pytest.fixture
def destination(new_bucket: Callable[[], Any]) -> Any:
    return new_bucket()


@pytest.fixture
def publish(source: Any) -> Callable[..., None]:
    """Puts a model where training puts it, and points the alias at it; a file that is given as None is left out."""

    def put(model: Model, **damage: bytes | None) -> None:
        folder = f"models/digits/versions/{model.version}"
        pointer = json.dumps({"version": model.version, "manifest_digest": model.manifest_digest}).encode()
        for key, content in (
            (f"{folder}/model.onnx", damage.get("onnx", model.onnx)),
            (f"{folder}/manifest.json", damage.get("manifest", model.manifest)),
            (ALIAS, damage.get("alias", pointer)),
        ):
            if content is not None:
                source.put(key, content)

    return put


@pytest.fixture
def link() -> Iterator[Callable[[Any], Link]]:
    """Opens a link to a bucket's store."""
    opened: list[Link] = []

    def to(bucket: Any) -> Link:
        host, port = bucket.variables["ISTHMUS_S3_ENDPOINT"].removeprefix("http://").split(":")
        opened.append(Link((host, int(port))))
        return opened[-1]

    yield to
    for each in opened:
        each.listener.close()
        each.cut()


@pytest.fixture
def variables(source: Any, destination: Any, tmp_path: Path) -> dict[str, str]:
    """The settings that lead from one bucket to the other, without links."""
    found = {"ISTHMUS_POLL_SECONDS": "0.02", "ISTHMUS_SCRATCH_DIR": str(tmp_path)}
    for side, bucket in (("SOURCE", source), ("DESTINATION", destination)):
        for name in ("ENDPOINT", "REGION", "BUCKET", "CREDENTIALS_DIR"):
            found[f"ISTHMUS_{side}_{name}"] = bucket.variables[f"ISTHMUS_S3_{name}"]
    return found


@pytest.fixture
def follower(variables: dict[str, str]) -> Callable[..., Follower]:
    """A process that begins: it knows nothing of what an earlier one did."""

    def begin(source: Link | None = None, destination: Link | None = None, **more: str) -> Follower:
        found = {**variables, **more}
        if source:
            found["ISTHMUS_SOURCE_ENDPOINT"] = source.endpoint
        if destination:
            found["ISTHMUS_DESTINATION_ENDPOINT"] = destination.endpoint
        return Follower(load(found), lambda: None)

    return begin


@pytest.fixture
def look() -> Callable[[Follower], str]:
    """One look at the stores, and what came of it."""
    return lambda follower: asyncio.run(follower.check())


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What replication has logged since the last time that this was asked."""
    caplog.set_level("INFO")

    def new() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.name.startswith("isthmus.")]
        caplog.clear()
        return found

    return new


@pytest.fixture
def holds(destination: Any) -> Callable[[Model], bool]:
    """Whether the destination has a model whole, with its alias pointing at it."""

    def check(model: Model) -> bool:
        folder = f"models/digits/versions/{model.version}"
        return (
            destination.get(f"{folder}/model.onnx") == model.onnx
            and destination.get(f"{folder}/manifest.json") == model.manifest
            and json.loads(destination.get(ALIAS))
            == {"version": model.version, "manifest_digest": model.manifest_digest}
        )

    return check
