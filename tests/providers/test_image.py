"""Image: what it refuses, what it sends to a registry and what it does not, and how it tells of a refusal."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import moto
import pytest

from infra.artifacts import Index
from infra.providers.isthmus import ecr, oci
from infra.providers.isthmus.handler import UNKNOWN, Context, ResourceError
from infra.providers.isthmus.image import Image
from infra.providers.isthmus.log import EngineLog
from ops.mirror.registry import Server

CTX = Context(urn="", preview=False, log=EngineLog())
PASSWORD = "a-password-of-half-a-day"
REPOSITORY = "prod-cloud/inference"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Mirror:
    """A folder such as the mirror's, with an image of two layers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layers = [self.keep(b"layer one"), self.keep(b"layer two" * 1000)]
        self.config = self.keep(b"{}")
        self.digest = self.image(self.layers)

    def image(self, layers: list[str]) -> str:
        parts = [{"digest": one, "size": 1} for one in layers]
        said = {"schemaVersion": 2, "config": {"digest": self.config, "size": 2}, "layers": parts}
        return self.keep(json.dumps(said).encode())

    def keep(self, content: bytes) -> str:
        digest = digest_of(content)
        self.path(digest).parent.mkdir(parents=True, exist_ok=True)
        self.path(digest).write_bytes(content)
        return digest

    def path(self, digest: str) -> Path:
        value = digest.removeprefix("sha256:")
        return self.root / "docker" / "registry" / "v2" / "blobs" / "sha256" / value[:2] / value / "data"


@dataclass
class Fake:
    """A registry that wants a password, and does as told."""

    host: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    """Statuses with which the next writes end."""
    refusal: bytes = b"{}"

    def sent(self) -> list[str]:
        return [one for one in self.requests if one.startswith("PUT")]

    def login(self, host: str) -> oci.Login:
        assert host == self.host
        return oci.Login(url=f"http://{host}", user="AWS", password=PASSWORD, proxies=False)


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            made.requests.append(f"{self.command} {self.path}")
            if self.headers.get("Authorization") != "Basic " + base64.b64encode(f"AWS:{PASSWORD}".encode()).decode():
                return self.answer(401)
            if self.command in ("POST", "PUT") and made.failures and (status := made.failures.pop(0)):
                return self.answer(status, made.refusal)
            _, kind, name = re.fullmatch(r"/v2/(.+)/(manifests|blobs|uploads)/([^?]*).*", self.path).groups()  # type: ignore[union-attr]
            match self.command, kind:
                case "HEAD", _:
                    self.answer(200 if name in (made.blobs if kind == "blobs" else made.manifests) else 404)
                case "POST", _:
                    self.answer(202, Location=f"/v2/{REPOSITORY}/blobs/uploads/one?state=here")
                case "PUT", "manifests":
                    for key in {name, digest_of(body)}:
                        made.manifests[key] = (self.headers["Content-Type"], body)
                    self.answer(201)
                case _:
                    digest = self.path.rpartition("digest=")[2].replace("%3A", ":")
                    good = digest == digest_of(body) and "state=here" in self.path
                    made.blobs |= {digest: body} if good else {}
                    self.answer(201 if good else 400)
            return None

        do_HEAD = do_POST = do_PUT = do_GET = handle_any

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.host = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oci, "PAUSE_S", 0)


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path)


def inputs(host: str, mirror: Mirror, digest: str | None = None) -> dict[str, Any]:
    digest = digest or mirror.digest
    return {
        "repository": f"{host}/{REPOSITORY}",
        "reference": f"{host}/{REPOSITORY}:v1-{digest[7:19]}",
        "digest": digest,
        "storage": str(mirror.root),
    }


def test_the_registry_has_the_image_under_its_digest_and_tag_and_every_byte_is_the_mirrors(
    fake: Fake, mirror: Mirror
) -> None:
    news = inputs(fake.host, mirror)
    rid, state = Image(fake.login).create(CTX, news)
    assert (rid, state) == (f"{fake.host}/{REPOSITORY}@{mirror.digest}", news)
    assert set(fake.blobs) == {*mirror.layers, mirror.config}
    kind, content = fake.manifests[f"v1-{mirror.digest[7:19]}"]
    assert (kind, digest_of(content)) == ("application/vnd.oci.image.manifest.v1+json", mirror.digest)
    assert fake.requests[-1].startswith("PUT") and "/manifests/" in fake.requests[-1], "before its blobs it is refused"


def test_what_is_there_is_not_sent_again(fake: Fake, mirror: Mirror) -> None:
    Image(fake.login).create(CTX, inputs(fake.host, mirror))
    before = len(fake.sent())
    Image(fake.login).create(CTX, inputs(fake.host, mirror))
    assert len(fake.sent()) == before
    other = mirror.image([mirror.layers[0], mirror.keep(b"a new layer")])
    Image(fake.login).update(CTX, "", inputs(fake.host, mirror), inputs(fake.host, mirror, other))
    assert len(fake.sent()) == before + 2, "a layer and a manifest"
    assert mirror.digest in fake.manifests, "pods of before may still start"


def test_an_image_of_several_platforms_comes_with_each_of_them(fake: Fake, mirror: Mirror) -> None:
    said = {"schemaVersion": 2, "manifests": [{"digest": mirror.digest, "size": 1}]}
    both = mirror.keep(json.dumps(said).encode())
    Image(fake.login).create(CTX, inputs(fake.host, mirror, both))
    assert {mirror.digest, both} <= set(fake.manifests)
    assert fake.manifests[both][0] == "application/vnd.oci.image.index.v1+json"


def test_a_registry_that_stumbles_is_asked_again(fake: Fake, mirror: Mirror) -> None:
    fake.failures = [503, 0, 429]
    Image(fake.login).create(CTX, inputs(fake.host, mirror))
    assert mirror.digest in fake.manifests


@pytest.mark.parametrize(
    ("status", "fix"), [(403, "may push images"), (404, "pulumi refresh"), (500, "run again: it continues")]
)
def test_a_refusal_names_the_repository_and_the_way_out_and_no_password(
    fake: Fake, mirror: Mirror, status: int, fix: str
) -> None:
    fake.failures = [status] * 9
    fake.refusal = json.dumps({"errors": [{"code": "DENIED", "message": "not you"}]}).encode()
    with pytest.raises(ResourceError, match=rf"{REPOSITORY} at .*HTTP {status}: DENIED not you.*{fix}") as raised:
        Image(fake.login).create(CTX, inputs(fake.host, mirror))
    assert PASSWORD not in str(raised.value)


def test_a_tag_that_somebody_else_has_taken_is_told_as_that(fake: Fake, mirror: Mirror) -> None:
    fake.failures, fake.refusal = [400], b'{"errors": [{"code": "TAG_INVALID", "message": "ImageTagAlreadyExists"}]}'
    with pytest.raises(ResourceError, match="under that tag, which cannot move"):
        Image(fake.login).create(CTX, inputs(fake.host, mirror))


def test_what_does_not_have_its_digest_is_told_as_that(fake: Fake, mirror: Mirror) -> None:
    fake.failures, fake.refusal = [0, 400], b'{"errors": [{"code": "DIGEST_INVALID", "message": "it has another"}]}'
    with pytest.raises(ResourceError, match="Fix: it is damaged in the mirror, or on its way: make mirror ARGS=verify"):
        Image(fake.login).create(CTX, inputs(fake.host, mirror))


def test_a_registry_that_is_away_is_told(mirror: Mirror) -> None:
    nobody = lambda host: oci.Login(url=f"http://{host}", proxies=False)  # noqa: E731
    with pytest.raises(ResourceError, match=r"prod-cloud/inference at 127\.0\.0\.1.*does not answer"):
        Image(nobody).create(CTX, inputs("127.0.0.1:9", mirror))


def test_what_the_mirror_lacks_or_holds_damaged_is_not_sent(fake: Fake, mirror: Mirror) -> None:
    mirror.path(mirror.layers[1]).unlink()
    with pytest.raises(ResourceError, match=r"does not hold .*make mirror ARGS=sync"):
        Image(fake.login).create(CTX, inputs(fake.host, mirror))
    assert not fake.manifests
    mirror.path(mirror.digest).write_text("{}")
    with pytest.raises(ResourceError, match="damaged in the mirror"):
        Image(fake.login).create(CTX, inputs(fake.host, mirror))


def test_ctrl_c_ends_it_between_two_blobs(fake: Fake, mirror: Mirror) -> None:
    ctx = Context(urn="", preview=False, log=EngineLog())
    ctx.cancelled.set()
    with pytest.raises(ResourceError, match="the next `make up` continues"):
        Image(fake.login).create(ctx, inputs(fake.host, mirror))
    assert not fake.sent()


def test_a_refresh_sees_an_image_that_is_gone(fake: Fake, mirror: Mirror) -> None:
    _, state = Image(fake.login).create(CTX, inputs(fake.host, mirror))
    assert Image(fake.login).read(CTX, "", state) == state
    fake.manifests.clear()
    assert Image(fake.login).read(CTX, "", state) is None


def test_only_another_image_or_another_place_is_a_change(mirror: Mirror) -> None:
    olds = inputs("there.example", mirror)
    assert Image().diff(CTX, "", olds, {**olds, "storage": "/elsewhere"}) == []
    assert Image().diff(CTX, "", olds, {**olds, "digest": f"sha256:{'1' * 64}"})[0].replace is False
    assert Image().diff(CTX, "", olds, {**olds, "repository": "elsewhere.example/it"})[0].replace is True


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("digest", "sha256:1"),
        ("digest", "v1"),
        ("reference", "there.example/prod-cloud/inference"),
        ("reference", "there.example/prod-cloud/other:v1"),
    ],
)
def test_it_refuses_what_pods_could_not_pull(mirror: Mirror, key: str, value: str) -> None:
    assert list(Image().check({**inputs("there.example", mirror), key: value})) == [key]


def test_it_takes_what_is_right_or_not_known_yet(mirror: Mirror) -> None:
    good = inputs("111122223333.dkr.ecr.eu-central-1.amazonaws.com", mirror)
    assert Image().check(good) == {}
    assert Image().check({**good, "repository": UNKNOWN}) == {}
    assert Image().check(dict.fromkeys(good, UNKNOWN)) == {}


def test_amazons_registry_is_opened_by_whoever_is_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    with moto.mock_aws():
        found = ecr.login(host)
    assert (found.url, found.user) == (f"https://{host}", "AWS")
    assert found.password and found.password not in repr(found)


def test_without_credentials_it_says_how_to_log_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ResourceError, match="Fix: log in to AWS"):
        ecr.login("123456789012.dkr.ecr.eu-central-1.amazonaws.com")
    with pytest.raises(ResourceError, match=r"no registry of Amazon's"):
        ecr.login("registry.example")


@pytest.mark.mirror
def test_the_registry_that_sites_have_takes_it_too(mirror: Mirror, tmp_path: Path) -> None:
    program = Index.load().artifact("registry").local
    with Server(lambda: program, tmp_path / "there", tmp_path / "log").running() as server:
        made = Image(lambda host: oci.Login(url=f"http://{host}", proxies=False))
        _, state = made.create(CTX, inputs(server.address, mirror))
        assert made.read(CTX, "", state) == state
        assert made.read(CTX, "", {**state, "digest": f"sha256:{'1' * 64}"}) is None
    there = Mirror.__new__(Mirror)
    there.root = tmp_path / "there"
    for one in (*mirror.layers, mirror.config, mirror.digest):
        assert there.path(one).read_bytes() == mirror.path(one).read_bytes()
