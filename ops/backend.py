"""Where the engine keeps an environment's state, and what encrypts the secrets in it.

A lab's is a folder of this checkout, with a passphrase beside it. An environment that names a bucket keeps its state
there: versioned, encrypted by a key of its own, and locked by the engine while a run changes it.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra import environment as environments
from infra.environment import State
from infra.paths import BIN, ROOT, state
from infra.settings import environment_file
from ops.console import Failure, say

OFFLINE = ROOT / "infra" / "providers" / "offline"


@dataclass(frozen=True, kw_only=True)
class Backend:
    """`url` and `secrets_provider` as the engine takes them; `variables` are the environment that goes with them."""

    url: str
    secrets_provider: str
    variables: dict[str, str]


def stand_ins() -> list[str]:
    """The plugins that are stand-ins in this checkout, such as kubernetes."""
    linked = (path for path in BIN.glob("pulumi-resource-*") if path.resolve().is_relative_to(OFFLINE))
    return sorted(path.name.removeprefix("pulumi-resource-") for path in linked)


def of(environment: str) -> Backend:
    """The environment's backend; a folder here while plugins are stand-ins, which must not touch a true state."""
    kept = None if stand_ins() else environments.load(environment_file(environment)).state
    if kept is not None:
        region = f"region={kept.region}"
        return Backend(
            url=f"s3://{kept.bucket}?{region}&awssdk=v2",
            secrets_provider=f"awskms://{kept.key_alias}?{region}",
            variables={},
        )
    folder = state(environment) / "pulumi"
    folder.mkdir(parents=True, exist_ok=True)
    return Backend(
        # Without a checksum beside each file, which nobody reads: the engine would make it of all the state, each time.
        url=f"file://{folder}?metadata=skip",
        secrets_provider="passphrase",
        variables={"PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase_file(environment))},
    )


def passphrase_file(environment: str) -> Path:
    """The file that holds the passphrase of the local stack's secrets; made once, for the owner's eyes only."""
    path = state(environment) / "passphrase"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path


def ensure(kept: State, **client: Any) -> None:
    """Makes bucket and key where they are missing; what is there stays as it is. `client`: for boto3's clients."""
    s3 = boto3.client("s3", region_name=kept.region, **client)
    kms = boto3.client("kms", region_name=kept.region, **client)
    try:
        _ensure_key(kms, kept)
        _ensure_bucket(s3, kept)
    except (BotoCoreError, ClientError) as fault:
        raise Failure(
            f"the state's bucket {kept.bucket} or its key {kept.key_alias} cannot be set up: {fault}",
            fix="check the credentials (`aws sts get-caller-identity`) and the permissions that README.md lists",
        ) from None


def _ensure_key(kms: Any, kept: State) -> None:
    try:
        kms.describe_key(KeyId=kept.key_alias)
    except kms.exceptions.NotFoundException:
        key = kms.create_key(Description="Secrets in the state of Isthmus")["KeyMetadata"]["KeyId"]
        kms.enable_key_rotation(KeyId=key)
        kms.create_alias(AliasName=kept.key_alias, TargetKeyId=key)
        say(f"    state: made the key {kept.key_alias}")


def _ensure_bucket(s3: Any, kept: State) -> None:
    try:
        s3.head_bucket(Bucket=kept.bucket)
        return
    except ClientError as fault:
        if fault.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
    place = {} if kept.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": kept.region}}
    s3.create_bucket(Bucket=kept.bucket, **place)
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=kept.bucket, PublicAccessBlockConfiguration=closed)
    s3.put_bucket_versioning(Bucket=kept.bucket, VersioningConfiguration={"Status": "Enabled"})
    encryption = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": kept.key_alias}
    s3.put_bucket_encryption(
        Bucket=kept.bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": encryption, "BucketKeyEnabled": True}]
        },
    )
    s3.put_bucket_policy(Bucket=kept.bucket, Policy=json.dumps(_encrypted_transport_only(kept.bucket)))
    say(f"    state: made the bucket {kept.bucket}")


def _encrypted_transport_only(bucket: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
