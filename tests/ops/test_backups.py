"""`make backups`, against a bucket with versions and copies that openssl signed and sealed as a host does."""

from __future__ import annotations

import base64
import json
import subprocess
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from infra import environment
from infra.cloud import lab_site
from infra.paths import ROOT
from ops import backups, engine
from ops.console import Failure

BUCKET = "backups-1234"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    started = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture
def seal(tmp_path: Path) -> Path:
    """A folder with what seals (crt.pem, key.pem), and who signs: an API server and a kubelet of one authority."""
    folder = tmp_path / "seal"
    folder.mkdir()
    certificate(folder, "backups", "crt.pem", "key.pem")
    for authority in ("kubernetes", "another"):
        certificate(folder, authority, f"{authority}.crt", f"{authority}.key")
    for name, authority in (
        ("kube-apiserver", "kubernetes"),
        ("system:node:worker", "kubernetes"),
        ("stranger", "another"),
    ):
        signer = ("-CA", folder / f"{authority}.crt", "-CAkey", folder / f"{authority}.key")
        certificate(folder, "kube-apiserver" if name == "stranger" else name, f"{name}.crt", f"{name}.key", *signer)
    return folder


def certificate(folder: Path, name: str, crt: str, key: str, *signer: str | Path) -> None:
    """Of itself, or of the signer."""
    made = ["-keyout", folder / key, "-out", folder / crt, "-subj", f"/CN={name}", "-days", "1", "-nodes", *signer]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", *curve, *made], capture_output=True, check=True)


@pytest.fixture
def bucket(server: str, seal: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3's client; the stack's outputs and the lab's address lead to it."""
    settings = environment.load(ROOT / "environments" / "hybrid.yaml")
    assert settings.cloud
    authority = base64.b64encode((seal / "kubernetes.crt").read_bytes()).decode()
    outputs = {
        "backups_bucket": BUCKET,
        "backups_key": (seal / "key.pem").read_text(),
        "kubeconfig": json.dumps({"clusters": [{"cluster": {"certificate-authority-data": authority}}]}),
    }
    said = types.SimpleNamespace(stdout=json.dumps(outputs))
    monkeypatch.setattr(engine, "pulumi", lambda *_, **__: said)
    monkeypatch.setattr(lab_site, "aws_url", lambda _: server)
    client = boto3.client(
        "s3",
        endpoint_url=server,
        region_name=settings.cloud.region,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
    )
    place = {"LocationConstraint": settings.cloud.region}
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield client
    for one in client.list_object_versions(Bucket=BUCKET).get("Versions", []):
        client.delete_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])
    client.delete_bucket(Bucket=BUCKET)


def send(client: Any, seal: Path, host: str, time: str, snapshot: str, signer: str = "kube-apiserver") -> None:
    """As the host's script does; signed by nobody where the signer is empty."""
    folder = seal / time
    folder.mkdir()
    (folder / "snapshot.db.gz").write_text(snapshot)
    (folder / "keys.tar").write_text("keys")
    packed = subprocess.run(["tar", "--create", "--directory", seal, time], capture_output=True, check=True).stdout
    if signer:
        files = ["-signer", f"{seal}/{signer}.crt", "-inkey", f"{seal}/{signer}.key"]
        cms = ["openssl", "cms", "-sign", "-binary", "-nodetach", "-stream", "-outform", "DER", *files]
        packed = subprocess.run(cms, input=packed, capture_output=True, check=True).stdout
    cms = ["openssl", "cms", "-encrypt", "-binary", "-stream", "-aes-256-gcm", "-outform", "DER", f"{seal}/crt.pem"]
    sealed = subprocess.run(cms, input=packed, capture_output=True, check=True).stdout
    client.put_object(Bucket=BUCKET, Key=f"etcd/{host}.cms", Body=sealed)


def test_the_copies_are_listed_by_host(bucket: Any, seal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backups.backups("hybrid", None, None, None) == 0
    assert "has no backups yet" in capsys.readouterr().out
    send(bucket, seal, "onprem-1", "20260131T003000Z", "a")
    send(bucket, seal, "onprem-1", "20260131T063000Z", "b")
    send(bucket, seal, "onprem-2", "20260131T013000Z", "c")
    assert backups.backups("hybrid", None, None, None) == 0
    one, two = capsys.readouterr().out.splitlines()
    assert one.startswith("onprem-1 ") and ", 2 since 20" in one
    assert two.startswith("onprem-2 ") and ", 1 since 20" in two


def test_the_newest_of_a_host_is_opened_for_its_owner_alone(bucket: Any, seal: Path, tmp_path: Path) -> None:
    send(bucket, seal, "onprem-1", "20260131T003000Z", "a")
    send(bucket, seal, "onprem-1", "20260131T063000Z", "b")
    assert backups.backups("hybrid", "onprem-1", tmp_path / "safe", None) == 0
    (made,) = (tmp_path / "safe" / "onprem-1").iterdir()
    assert made.name == "20260131T063000Z"
    assert (made / "snapshot.db.gz").read_text() == "b"
    assert (made / "keys.tar").read_text() == "keys"
    assert made.parent.stat().st_mode & 0o777 == 0o700


def test_an_earlier_one_can_be_had(bucket: Any, seal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send(bucket, seal, "onprem-1", "20260131T003000Z", "a")
    send(bucket, seal, "onprem-1", "20260131T063000Z", "b")
    all_copies = backups.copies

    def dated(place: backups.Place) -> Iterator[backups.Copy]:
        """S3 says when a copy came; here six hours passed between the two."""
        for copy in all_copies(place):
            hour = 6 if copy.latest else 0
            yield backups.Copy(**{**vars(copy), "copied": datetime(2026, 1, 31, hour, 31, tzinfo=UTC)})

    monkeypatch.setattr(backups, "copies", dated)
    assert backups.backups("hybrid", "onprem-1", tmp_path, "2026-01-31T06:00") == 0
    assert [path.name for path in (tmp_path / "onprem-1").iterdir()] == ["20260131T003000Z"]
    with pytest.raises(Failure, match="no copy of a backup of onprem-1 at 2026-01-30T00:00:00Z"):
        backups.backups("hybrid", "onprem-1", tmp_path, "2026-01-30")


def test_one_that_was_changed_is_refused_and_nothing_stays(bucket: Any, seal: Path, tmp_path: Path) -> None:
    send(bucket, seal, "onprem-1", "20260131T003000Z", "a" * 5000)
    sealed = bytearray(bucket.get_object(Bucket=BUCKET, Key="etcd/onprem-1.cms")["Body"].read())
    sealed[len(sealed) // 2] ^= 1
    bucket.put_object(Bucket=BUCKET, Key="etcd/onprem-1.cms", Body=bytes(sealed))
    with pytest.raises(Failure, match="can't be opened: it was changed since, or sealed for another key") as raised:
        backups.backups("hybrid", "onprem-1", tmp_path / "safe", None)
    assert "PRIVATE KEY" not in str(raised.value)
    assert list((tmp_path / "safe" / "onprem-1").iterdir()) == []


@pytest.mark.parametrize("signer", ["", "stranger", "system:node:worker"])
def test_one_that_no_control_plane_of_the_cluster_signed_is_opened_only_on_demand(
    bucket: Any, seal: Path, tmp_path: Path, signer: str
) -> None:
    send(bucket, seal, "onprem-1", "20260131T003000Z", "a", signer)
    with pytest.raises(Failure, match="is of no control plane of this cluster: somebody else put it there"):
        backups.backups("hybrid", "onprem-1", tmp_path / "safe", None)
    assert list((tmp_path / "safe" / "onprem-1").iterdir()) == []
    if signer:
        backups.backups("hybrid", "onprem-1", tmp_path / "safe", None, unverified=True)
        (made,) = (tmp_path / "safe" / "onprem-1").iterdir()
        assert (made / "snapshot.db.gz").read_text() == "a"


def test_what_is_there_is_not_overwritten(bucket: Any, seal: Path, tmp_path: Path) -> None:
    send(bucket, seal, "onprem-1", "20260131T003000Z", "a")
    backups.backups("hybrid", "onprem-1", tmp_path, None)
    with pytest.raises(Failure, match="20260131T003000Z is there already"):
        backups.backups("hybrid", "onprem-1", tmp_path, None)


def test_a_host_without_a_copy_is_named_with_those_that_have_one(bucket: Any, seal: Path, tmp_path: Path) -> None:
    send(bucket, seal, "onprem-2", "20260131T003000Z", "a")
    with pytest.raises(Failure, match=r"no copy of a backup of onprem-9\..* there are copies of onprem-2"):
        backups.backups("hybrid", "onprem-9", tmp_path, None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("local", None, None, None), "environment local has one site"),
        (("hybrid", "onprem-1", None, None), "no folder to put the backup of onprem-1 in"),
        (("hybrid", "onprem-1", Path("/nowhere"), "yesterday"), "--before is 'yesterday'.* Fix: write a time like"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_asked(arguments: Any, reason: str) -> None:
    with pytest.raises(Failure, match=reason):
        backups.backups(*arguments)


@pytest.mark.usefixtures("bucket")
def test_a_store_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_site, "aws_url", lambda _: "http://127.0.0.1:1")
    with pytest.raises(Failure, match=f"bucket {BUCKET} does not give its backups"):
        backups.backups("hybrid", None, None, None)


def test_before_the_first_up_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "pulumi", lambda *_, **__: types.SimpleNamespace(stdout="{}"))
    with pytest.raises(Failure, match=r"has no backups_bucket, backups_key, kubeconfig yet\. Fix: make up ENV=hybrid"):
        backups.backups("hybrid", None, None, None)
