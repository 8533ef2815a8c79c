"""What a real site's registry is sent: all that its hosts ask for, once; and what is said where it takes nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from infra.artifacts import Artifact, Index, file_url
from infra.providers.isthmus import oci
from ops.console import Failure
from ops.mirror import catalog, publish, sync
from ops.mirror.plan import Planned
from ops.mirror.registry import Server, Storage, digest_of, file_manifest
from ops.mirror.store import Meta, Store

PAUSE, SERVED, KEPT = "registry.k8s.io/some/pause:3.10", "kubelet", "registry"


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci, "PAUSE_S", 0)


def record(name: str, kind: str, digest: str, size: int, ref: str | None = None) -> Meta:
    return Meta(name=name, key="k", kind=kind, version="v1", source="", digest=digest, size=size, ref=ref)


@dataclass
class Mirror:
    """A mirror with an image, a file that is served and one that is not, and the records of them."""

    store: Store
    records: list[Meta] = field(default_factory=list)

    def __post_init__(self) -> None:
        artifacts = catalog.load().artifacts
        assert artifacts[SERVED].served
        assert not artifacts[KEPT].served
        self.storage = Storage(self.store.registry)
        self.file(SERVED, b"a program")
        self.records.append(record(KEPT, "file", self.keep(b"of this machine alone"), 1))
        self.image(b"a layer" * 1000)

    def keep(self, content: bytes) -> str:
        digest = digest_of(content)
        path = self.storage.blob(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return digest

    def file(self, name: str, content: bytes) -> None:
        digest = self.keep(content)
        self.keep(b"{}")
        self.keep(file_manifest(digest, len(content)))
        self.records.append(record(name, "file", digest, len(content)))

    def image(self, layer: bytes) -> str:
        """For two platforms, in the place of the one before."""
        config = {"digest": self.keep(b"{}"), "size": 2, "mediaType": "application/vnd.oci.image.config.v1+json"}
        part = {
            "digest": self.keep(layer),
            "size": len(layer),
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
        }
        kind = {"schemaVersion": 2, "mediaType": oci.MANIFEST_TYPES[0], "config": config}
        content = [json.dumps({**kind, "layers": layers}).encode() for layers in ([part], [])]
        below = [
            {
                "digest": self.keep(one),
                "size": len(one),
                "mediaType": oci.MANIFEST_TYPES[0],
                "platform": {"architecture": name, "os": "linux"},
            }
            for one, name in zip(content, ("amd64", "arm64"), strict=True)
        ]
        both = json.dumps({"schemaVersion": 2, "mediaType": oci.MANIFEST_TYPES[1], "manifests": below}).encode()
        digest = self.keep(both)
        self.records = [one for one in self.records if one.kind != "image"]
        self.records.append(record("pause", "image", digest, len(layer), PAUSE))
        return digest


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(Store(tmp_path / "mirror"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Storage]]:
    """The registry that a site would run, empty: its URL and its folder."""
    program = Index.load().artifact("registry").local
    with Server(lambda: program, tmp_path / "site", tmp_path / "site.log").running() as server:
        yield f"http://{server.address}", Storage(tmp_path / "site")


@pytest.mark.mirror
def test_hosts_find_every_image_and_file_where_they_ask_for_it(mirror: Mirror, site: tuple[str, Storage]) -> None:
    url, there = site
    assert publish.publish(url, mirror.records, mirror.store) == 2
    image = mirror.records[-1]
    accept = {"Accept": ", ".join(oci.MANIFEST_TYPES)}
    with httpx.Client(base_url=url, headers=accept, trust_env=False) as client:
        # As hosts.toml has containerd ask.
        for reference in ("3.10", image.digest):
            answer = client.get(f"/v2/registry.k8s.io/some/pause/manifests/{reference}")
            assert digest_of(answer.content) == image.digest
        artifact = Artifact(kind="file", version="v1", digest=mirror.records[0].digest, size=9)
        assert client.get(file_url(url, SERVED, artifact)).content == b"a program"
    assert len(there.parts(image.digest)) == 5, "a list, two manifests, a layer and a configuration"
    for part in there.parts(image.digest):
        assert there.blob(part).read_bytes() == mirror.storage.blob(part).read_bytes()
    assert not there.blob(mirror.records[1].digest).exists(), "no host asks for it"


@pytest.mark.mirror
def test_a_second_run_sends_nothing_and_says_so_in_one_line(
    mirror: Mirror, site: tuple[str, Storage], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url, _ = site
    publish.publish(url, mirror.records, mirror.store)
    capsys.readouterr()

    def sends(*_: object) -> None:
        pytest.fail("it sends something")

    monkeypatch.setattr(oci.Registry, "put_blob", sends)
    monkeypatch.setattr(oci.Registry, "put_manifest", sends)
    assert publish.publish(url, mirror.records, mirror.store) == 0
    assert capsys.readouterr().out == f"    {url} has all 2 images and files; 0 were sent\n"


@pytest.mark.mirror
def test_a_run_that_was_cut_off_is_continued_by_the_next(
    mirror: Mirror, site: tuple[str, Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, there = site
    with monkeypatch.context() as patch:
        patch.setattr(oci.Registry, "put_manifest", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            publish.publish(url, mirror.records[-1:], mirror.store)
    layer = digest_of(b"a layer" * 1000)
    assert there.blob(layer).exists()
    sent: list[str] = []
    put = oci.Registry.put_blob

    def noted(self: oci.Registry, digest: str, path: Path) -> None:
        sent.append(digest)
        put(self, digest, path)

    monkeypatch.setattr(oci.Registry, "put_blob", noted)
    assert publish.publish(url, mirror.records, mirror.store) == 2
    assert layer not in sent


@pytest.mark.mirror
def test_a_name_follows_to_another_image_of_the_same_version(mirror: Mirror, site: tuple[str, Storage]) -> None:
    url, there = site
    publish.publish(url, mirror.records, mirror.store)
    first = mirror.records[-1].digest
    second = mirror.image(b"built by a newer compiler")
    assert publish.publish(url, mirror.records, mirror.store) == 1
    assert there.tagged("registry.k8s.io/some/pause", "3.10") == second
    mirror.records[-1] = record("pause", "image", first, 1, PAUSE)
    assert publish.publish(url, mirror.records, mirror.store) == 1, "both are there, and the tag points to the other"
    assert there.tagged("registry.k8s.io/some/pause", "3.10") == first


@pytest.mark.mirror
def test_what_is_damaged_here_is_refused_there_and_told_by_its_name(mirror: Mirror, site: tuple[str, Storage]) -> None:
    url, there = site
    mirror.storage.blob(mirror.records[0].digest).write_bytes(b"a virus??")
    with pytest.raises(Failure, match=rf"files/{SERVED} .*DIGEST_INVALID.*Fix: .*ARGS=verify"):
        publish.publish(url, mirror.records, mirror.store)
    assert not there.blob(mirror.records[0].digest).exists()


@pytest.mark.mirror
def test_what_the_mirror_lacks_is_told_with_the_command_that_makes_it(
    mirror: Mirror, site: tuple[str, Storage]
) -> None:
    mirror.storage.blob(mirror.records[-1].digest).unlink()
    with pytest.raises(Failure, match=r"the mirror does not hold .* run: make mirror"):
        publish.publish(site[0], mirror.records, mirror.store)


@pytest.mark.parametrize("url", ["10.0.0.2:5000", "http://10.0.0.2:5000/v2", "http://", "ftp://10.0.0.2"])
def test_what_is_no_url_of_a_registry_is_refused(mirror: Mirror, url: str) -> None:
    with pytest.raises(Failure, match="Fix: write it like"):
        publish.publish(url, mirror.records, mirror.store)


def test_where_nobody_answers_it_says_where_and_what_to_run(mirror: Mirror) -> None:
    with pytest.raises(
        Failure, match=r"http://127\.0\.0\.1:9 does not answer \(ConnectError.*Fix: run an OCI registry"
    ):
        publish.publish("http://127.0.0.1:9", mirror.records, mirror.store)


@pytest.fixture
def answering() -> Iterator[tuple[str, dict[str, int]]]:
    """A server that answers each method as told: GET to begin with, then HEAD and POST."""
    statuses = {"GET": 200, "HEAD": 404, "POST": 202}

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(statuses[self.command])
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", statuses
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("method", "status", "told"),
    [
        ("GET", 401, "asks for a password .*Fix: let this machine push there without a password"),
        ("GET", 404, "is no OCI registry .*HTTP 404.*Fix: run an OCI registry"),
        ("HEAD", 500, "did not take .*HTTP 500.*Fix: mend that and run this again"),
        ("POST", 403, "did not take .*HTTP 403.*Fix: let this machine push there without a password"),
        ("POST", 405, "did not take .*HTTP 405.*Fix: the registry is set to be read only"),
        ("POST", 507, "did not take .*HTTP 507.*Fix: mend that and run this again"),
    ],
)
def test_a_refusal_names_the_registry_the_reason_and_the_fix(
    mirror: Mirror, answering: tuple[str, dict[str, int]], method: str, status: int, told: str
) -> None:
    url, statuses = answering
    statuses[method] = status
    with pytest.raises(Failure, match=f"{url} {told}"):
        publish.publish(url, mirror.records, mirror.store)


def test_a_sync_mends_what_holds_a_file_so_that_it_can_be_sent(mirror: Mirror) -> None:
    meta = mirror.records[0]
    one = Planned(name=SERVED, entry=catalog.load().artifacts[SERVED], source="build", key="k", meta=meta)
    assert sync._unpublished([one], mirror.store) == []
    mirror.storage.blob(digest_of(file_manifest(meta.digest, meta.size))).unlink()
    assert sync._unpublished([one], mirror.store) == [meta]
