"""Copies that leave the host: signed by it, sealed, and never in the way of the backup itself."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.ansible.etcd_backup.control_plane import CURVE, Host, told

pytestmark = pytest.mark.mirror


@dataclass
class Store:
    """The S3 store that takes copies, and what opens them."""

    client: Any
    key: Path
    authority: Path
    """The cluster's, of which the host's API server has its certificate."""

    def object(self) -> tuple[bytes, dict[str, str]]:
        found = self.client.get_object(Bucket="backups", Key="etcd/one.cms")
        return found["Body"].read(), found["Metadata"]

    def opened(self, folder: Path) -> Path:
        """The backup in the copy."""
        sealed, signed, packed = folder / "sealed", folder / "signed", folder / "packed"
        sealed.write_bytes(self.object()[0])
        decrypt = ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", sealed, "-inkey", self.key]
        subprocess.run([*decrypt, "-out", signed], check=True)
        verify = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", signed, "-CAfile", self.authority]
        subprocess.run([*verify, "-no-CApath", "-no-CAstore", "-purpose", "any", "-out", packed], check=True)
        subprocess.run(["tar", "-C", folder, "-xf", packed], check=True)
        (backup,) = folder.glob("[0-9]*Z")
        return backup


@pytest.fixture
def store(host: Host, render: Callable[..., str], tmp_path: Path) -> Iterator[Store]:
    """The host sends its backups to a store; its kubectl gives the key, and notes what it was asked."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    made = ["-keyout", tmp_path / "seal.key", "-out", tmp_path / "seal.crt", "-subj", "/CN=backups", "-days", "1"]
    subprocess.run(["openssl", "req", "-x509", *CURVE, *made], capture_output=True, check=True)
    authority = ["-subj", "/CN=kubernetes", "-days", "1", "-keyout", tmp_path / "ca.key", "-out", tmp_path / "ca.crt"]
    subprocess.run(["openssl", "req", "-x509", *CURVE, *authority], capture_output=True, check=True)
    pki, signer = host.kubernetes / "pki", ["-CA", tmp_path / "ca.crt", "-CAkey", tmp_path / "ca.key"]
    server_files = ["-keyout", pki / "apiserver.key", "-out", pki / "apiserver.crt", "-subj", "/CN=kube-apiserver"]
    subprocess.run(["openssl", "req", "-x509", *CURVE, *signer, *server_files], capture_output=True, check=True)
    place = {
        "url": url,
        "region": "garage",
        "bucket": "backups",
        "namespace": "object-store",
        "secret": "backups-credentials",
        "certificate": (tmp_path / "seal.crt").read_text(),
    }
    text = render("etcd_backup", "isthmus-backup-etcd.sh.j2", **host.values, etcd_backup_store=place)
    host.install("isthmus-backup-etcd", text.replace("--retry-delay 15", "--retry-delay 1"))
    host.install("kubectl", f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nprintf %s GK1:secret-of-the-store\n')
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket="backups")
    yield Store(client=client, key=tmp_path / "seal.key", authority=tmp_path / "ca.crt")
    httpx.post(f"{url}/moto-api/reset").raise_for_status()  # what moto holds outlives its servers
    server.stop()


def test_a_copy_goes_to_the_store_signed_and_sealed_and_tells_what_it_is(
    host: Host, store: Store, tmp_path: Path
) -> None:
    host.etcdctl("put", "/a", "1")
    done = host.run("isthmus-backup-etcd")
    assert done.returncode == 0, done.stderr
    (backup,) = host.backups
    sealed, metadata = store.object()
    taken = int(told(host)["isthmus_etcd_backup_last_success_timestamp_seconds"])
    assert metadata == {"sha256": hashlib.sha256(sealed).hexdigest(), "taken": str(taken)}
    for plain in (b"keys.tar", b"snapshot", b"this is pki/ca.key"):
        assert plain not in sealed
    there = tmp_path / "there"
    there.mkdir()
    opened = store.opened(there)
    assert opened.name == backup.name
    for name in ("snapshot.db.gz", "keys.tar"):
        assert (opened / name).read_bytes() == (backup / name).read_bytes()
    assert not (host.root / "backups" / ".sealed").exists()
    assert "secret-of-the-store" not in done.stdout + done.stderr
    asked = (tmp_path / "asked").read_text()
    assert "--namespace object-store get secret backups-credentials" in asked
    assert "{{.data.access_key_id | base64decode}}:{{.data.secret_access_key | base64decode}}" in asked


def test_the_store_holds_the_newest(host: Host, store: Store) -> None:
    for _ in range(2):
        assert host.run("isthmus-backup-etcd").returncode == 0
    listed = store.client.list_objects_v2(Bucket="backups")["Contents"]
    assert [one["Key"] for one in listed] == ["etcd/one.cms"]
    taken = int(told(host)["isthmus_etcd_backup_last_success_timestamp_seconds"])
    assert store.object()[1]["taken"] == str(taken)


@pytest.mark.usefixtures("store")
def test_without_the_stores_key_the_backup_is_there_all_the_same_and_the_run_has_failed(host: Host) -> None:
    host.install("kubectl", "#!/bin/sh\necho no such secret >&2\nexit 1\n")
    done = host.run("isthmus-backup-etcd")
    assert done.returncode != 0
    assert "no such secret" in done.stderr
    assert len(host.backups) == 1
    assert "isthmus_etcd_backup_last_success_timestamp_seconds" in told(host)
    assert not (host.root / "backups" / ".sealed").exists()


def test_a_store_that_refuses_is_told(host: Host, store: Store) -> None:
    store.client.delete_bucket(Bucket="backups")
    script = (host.root / "bin" / "isthmus-backup-etcd").read_text()
    host.install("isthmus-backup-etcd", script.replace("--retry-max-time 300", "--retry-max-time 2"))
    done = host.run("isthmus-backup-etcd")
    assert done.returncode != 0
    assert "404" in done.stderr
    assert f"{host.backups[0]} is made, but http://" in done.stderr
