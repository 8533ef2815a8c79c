"""The engine's state: a folder for a lab, a bucket that keeps every version for the others; made once."""

from __future__ import annotations

from pathlib import Path

import boto3
import moto
import pytest

from infra.environment import State
from infra.paths import ROOT
from ops import backend, up
from ops.console import Failure

KEPT = State(bucket="isthmus-state-test", region="eu-central-1", key_alias="alias/isthmus-state-test")


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout whose plugins are the official ones."""
    monkeypatch.setattr(backend, "BIN", tmp_path)


@pytest.fixture
def standing_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout whose kubernetes plugin is a stand-in."""
    (tmp_path / "pulumi-resource-kubernetes").symlink_to(backend.OFFLINE / "kubernetes" / "pulumi-resource-kubernetes")
    monkeypatch.setattr(backend, "BIN", tmp_path)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with moto.mock_aws():
        yield


@pytest.mark.usefixtures("official")
def test_a_lab_keeps_its_state_in_the_checkout() -> None:
    kept = backend.of("local")
    assert kept.url == f"file://{ROOT}/.state/local/pulumi?metadata=skip"
    assert kept.secrets_provider == "passphrase"


@pytest.mark.usefixtures("official")
def test_production_keeps_its_state_in_its_bucket_under_its_key() -> None:
    kept = backend.of("prod")
    assert kept.url.startswith("s3://isthmus-state-444455556666-prod?region=eu-central-1")
    assert kept.secrets_provider == "awskms://alias/isthmus-state-prod?region=eu-central-1"


@pytest.mark.usefixtures("standing_in")
def test_a_stand_in_never_touches_a_true_state() -> None:
    assert backend.stand_ins() == ["kubernetes"]
    assert backend.of("prod").url.startswith("file://")


@pytest.mark.usefixtures("account")
def test_bucket_and_key_are_made_once_versioned_encrypted_and_closed() -> None:
    backend.ensure(KEPT)
    backend.ensure(KEPT)
    s3, kms = boto3.client("s3", region_name=KEPT.region), boto3.client("kms", region_name=KEPT.region)
    assert s3.get_bucket_versioning(Bucket=KEPT.bucket)["Status"] == "Enabled"
    rule = s3.get_bucket_encryption(Bucket=KEPT.bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert all(s3.get_public_access_block(Bucket=KEPT.bucket)["PublicAccessBlockConfiguration"].values())
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=KEPT.bucket)["Policy"]
    aliases = [alias for alias in kms.list_aliases()["Aliases"] if alias["AliasName"] == KEPT.key_alias]
    assert len(aliases) == 1
    assert kms.get_key_rotation_status(KeyId=aliases[0]["TargetKeyId"])["KeyRotationEnabled"]


def test_an_account_that_does_not_answer_is_one_clear_error() -> None:
    with pytest.raises(Failure, match="isthmus-state-test") as caught:
        backend.ensure(KEPT, endpoint_url="http://127.0.0.1:9", aws_access_key_id="x", aws_secret_access_key="x")
    assert "credentials" in caught.value.fix


@pytest.mark.usefixtures("standing_in")
def test_real_sites_are_not_built_with_stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up.bootstrap, "ensure", lambda: None)
    with pytest.raises(Failure, match="stand-ins"):
        up.up("prod")
