"""Where each workload looks for its object store, and what opens it: a store of one's own, or AWS's."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from obstore import get_async, sign
from obstore.store import S3Store

WORKLOADS = {"training": "S3", "inference": "S3", "replication": "DESTINATION"}
each_workload = pytest.mark.parametrize("workload", WORKLOADS)


def load(workload: str, **store: str) -> Any:
    """A workload's settings; `endpoint`, `region`, `bucket` and `credentials_dir` are of the store under test."""
    variables = {f"ISTHMUS_{WORKLOADS[workload]}_{name.upper()}": value for name, value in store.items()}
    if workload == "replication":
        variables |= {"ISTHMUS_SOURCE_REGION": "eu-central-1", "ISTHMUS_SOURCE_BUCKET": "another"}
    return import_module(f"isthmus_{workload}.settings").load(variables)


def remote(workload: str, **store: str) -> S3Store:
    """What the workload talks to its store with."""
    settings, of = load(workload, **store), import_module(f"isthmus_{workload}.store").Store
    match workload:
        case "training":
            return of(settings, print).remote
        case "inference":
            return of(settings).remote
        case _:
            return of("destination", settings.destination, lambda: None).remote


@pytest.fixture(autouse=True)
def nothing_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """obstore takes every AWS_ variable into account, also those of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def keys(tmp_path: Path) -> str:
    for name in ("access_key_id", "secret_access_key"):
        (tmp_path / name).write_text("test\n")
    return str(tmp_path)


@each_workload
def test_an_endpoint_is_addressed_path_style(workload: str, keys: str) -> None:
    store = remote(workload, endpoint="http://store:3900", region="garage", bucket="models", credentials_dir=keys)
    assert sign(store, "GET", "a/b", timedelta(minutes=1)).startswith("http://store:3900/models/a/b?")


@each_workload
def test_without_an_endpoint_the_bucket_is_awss_own_over_https(workload: str, keys: str) -> None:
    store = remote(workload, region="eu-central-1", bucket="models", credentials_dir=keys)
    url = sign(store, "GET", "a/b", timedelta(minutes=1))
    assert url.startswith("https://models.s3.eu-central-1.amazonaws.com/a/b?")


@each_workload
def test_awss_own_needs_a_region(workload: str) -> None:
    wanted = import_module(f"isthmus_{workload}.{'errors' if workload == 'training' else 'settings'}").BadSettings
    with pytest.raises(wanted, match=f"ISTHMUS_{WORKLOADS[workload]}_REGION"):
        load(workload, bucket="models")


@pytest.mark.parametrize("workload", ["training", "inference"])
def test_an_endpoint_alone_is_the_sites_own_store(workload: str) -> None:
    settings = load(workload, endpoint="http://store:3900")
    assert (settings.s3_region, settings.s3_bucket, settings.s3_credentials_dir) == ("garage", "models", None)


@pytest.fixture
def pod_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What EKS gives to a pod, and a store that notes who asks: `endpoint`, `token` and the requests' headers."""
    seen: dict[str, Any] = {}
    credentials = {
        "AccessKeyId": "ASIAPOD",
        "SecretAccessKey": "secret",
        "Token": "session",
        "Expiration": (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }

    class Both(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen[self.path] = self.headers
            body = json.dumps(credentials).encode() if self.path == "/v1/credentials" else b"content"
            self.send_response(200)
            for name, value in (
                ("Content-Length", str(len(body))),
                ("ETag", '"1"'),
                ("Last-Modified", "Mon, 23 Nov 2026 20:00:00 GMT"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Both)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    (tmp_path / "token").write_text("the-pods-token")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{endpoint}/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    yield SimpleNamespace(endpoint=endpoint, seen=seen)
    server.shutdown()


async def read(store: S3Store) -> bytes:
    return bytes(await (await get_async(store, "key")).bytes_async())


@each_workload
def test_without_keys_the_pods_identity_opens_the_store(workload: str, pod_identity: Any) -> None:
    store = remote(workload, endpoint=pod_identity.endpoint, region="eu-central-1", bucket="models")
    assert asyncio.run(read(store)) == b"content"
    assert pod_identity.seen["/v1/credentials"]["Authorization"] == "the-pods-token"
    asked = pod_identity.seen["/models/key"]
    assert "Credential=ASIAPOD/" in asked["Authorization"]
    assert asked["x-amz-security-token"] == "session"


def test_replication_opens_each_of_its_stores_in_its_own_way(pod_identity: Any, keys: str) -> None:
    """As between a site's store, which has keys, and a bucket of Amazon's, which knows the pod."""
    side = {"ENDPOINT": pod_identity.endpoint, "REGION": "eu-central-1"}
    variables = {f"ISTHMUS_{name}_{key}": value for name in ("SOURCE", "DESTINATION") for key, value in side.items()}
    variables |= {"ISTHMUS_SOURCE_BUCKET": "theirs", "ISTHMUS_SOURCE_CREDENTIALS_DIR": keys}
    variables |= {"ISTHMUS_DESTINATION_BUCKET": "ours"}
    settings = import_module("isthmus_replication.settings").load(variables)
    of = import_module("isthmus_replication.store").Store
    for name in ("source", "destination"):
        assert asyncio.run(read(of(name, getattr(settings, name), lambda: None).remote)) == b"content"
    assert "Credential=test/" in pod_identity.seen["/theirs/key"]["Authorization"]
    assert "Credential=ASIAPOD/" in pod_identity.seen["/ours/key"]["Authorization"]


@each_workload
def test_mounted_keys_come_before_the_pods_identity(workload: str, pod_identity: Any, keys: str) -> None:
    where = {"endpoint": pod_identity.endpoint, "region": "eu-central-1", "bucket": "models"}
    assert asyncio.run(read(remote(workload, **where, credentials_dir=keys))) == b"content"
    assert "Credential=test/" in pod_identity.seen["/models/key"]["Authorization"]
    assert "/v1/credentials" not in pod_identity.seen
