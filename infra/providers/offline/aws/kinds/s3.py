"""Buckets, and what is set on each by a call of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from infra.providers.offline.aws.kind import Client, Kind, Properties, listed, mapped

Say = Callable[[Any], Properties]


def _make_bucket(aws: Client, inputs: Properties) -> str:
    region = aws.meta.region_name
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    aws.create_bucket(Bucket=inputs["bucket"], **place)
    return inputs["bucket"]


def _look_at_bucket(aws: Client, rid: str, _state: Properties) -> Properties:
    aws.head_bucket(Bucket=rid)
    try:
        tags = mapped(aws.get_bucket_tagging(Bucket=rid)["TagSet"])
    except aws.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchTagSet":
            raise
        tags = {}
    return {"arn": f"arn:aws:s3:::{rid}", "bucket": rid, "tagsAll": tags}


def _tag(aws: Client, rid: str, tags: Any, _removed: list[str]) -> None:
    # S3 takes all tags at once, so what is not among them is gone.
    if tags:
        aws.put_bucket_tagging(Bucket=rid, Tagging={"TagSet": listed(tags)})


def _remove_bucket(aws: Client, rid: str, state: Properties) -> None:
    if state.get("forceDestroy"):
        for page in aws.get_paginator("list_object_versions").paginate(Bucket=rid):
            every = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            names = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in every]
            if names:
                aws.delete_objects(Bucket=rid, Delete={"Objects": names})
    aws.delete_bucket(Bucket=rid)


def _setting(
    name: str,
    put: Callable[[Client, Properties], object],
    read: Callable[[Client, str], Properties],
    remove: Callable[[Client, str], object],
    missing: str,
    documents: tuple[str, ...] = (),
) -> Kind:
    """Something that a bucket has at most one of, and that is put as a whole."""

    def create(aws: Client, inputs: Properties) -> str:
        put(aws, inputs)
        return inputs["bucket"]

    return Kind(
        token=f"aws:s3/{name[0].lower()}{name[1:]}:{name}",
        service="s3",
        create=create,
        read=lambda aws, rid, _: read(aws, rid),
        update=lambda aws, _rid, _olds, news: put(aws, news),
        delete=lambda aws, rid, _: remove(aws, rid),
        replace=frozenset({"bucket"}),
        gone=frozenset({"NoSuchBucket", missing}),
        documents=frozenset(documents),
    )


def _put_encryption(aws: Client, inputs: Properties) -> object:
    rules = [
        {
            "ApplyServerSideEncryptionByDefault": {
                "SSEAlgorithm": rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"],
                "KMSMasterKeyID": rule["applyServerSideEncryptionByDefault"]["kmsMasterKeyId"],
            },
            "BucketKeyEnabled": rule["bucketKeyEnabled"],
        }
        for rule in inputs["rules"]
    ]
    return aws.put_bucket_encryption(Bucket=inputs["bucket"], ServerSideEncryptionConfiguration={"Rules": rules})


def _look_at_encryption(aws: Client, rid: str) -> Properties:
    found = aws.get_bucket_encryption(Bucket=rid)["ServerSideEncryptionConfiguration"]["Rules"]
    return {
        "rules": [
            {
                "applyServerSideEncryptionByDefault": {
                    "sseAlgorithm": rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"],
                    "kmsMasterKeyId": rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID"),
                },
                "bucketKeyEnabled": rule.get("BucketKeyEnabled", False),
            }
            for rule in found
        ]
    }


def _put_lifecycle(aws: Client, inputs: Properties) -> object:
    rules = [
        {
            "ID": rule["id"],
            "Status": rule["status"],
            "Filter": {"Prefix": ""},
            "NoncurrentVersionExpiration": {"NoncurrentDays": rule["noncurrentVersionExpiration"]["noncurrentDays"]},
            "AbortIncompleteMultipartUpload": {
                "DaysAfterInitiation": rule["abortIncompleteMultipartUpload"]["daysAfterInitiation"]
            },
        }
        for rule in inputs["rules"]
    ]
    return aws.put_bucket_lifecycle_configuration(Bucket=inputs["bucket"], LifecycleConfiguration={"Rules": rules})


def _look_at_lifecycle(aws: Client, rid: str) -> Properties:
    return {
        "rules": [
            {
                "id": rule["ID"],
                "status": rule["Status"],
                "filter": {},
                "noncurrentVersionExpiration": {
                    "noncurrentDays": rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
                },
                "abortIncompleteMultipartUpload": {
                    "daysAfterInitiation": rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
                },
            }
            for rule in aws.get_bucket_lifecycle_configuration(Bucket=rid)["Rules"]
        ]
    }


_CLOSED: Final = {
    "blockPublicAcls": "BlockPublicAcls",
    "blockPublicPolicy": "BlockPublicPolicy",
    "ignorePublicAcls": "IgnorePublicAcls",
    "restrictPublicBuckets": "RestrictPublicBuckets",
}


def _look_at_access(aws: Client, rid: str) -> Properties:
    found = aws.get_public_access_block(Bucket=rid)["PublicAccessBlockConfiguration"]
    return {key: found[name] for key, name in _CLOSED.items()}


KINDS: Final = (
    Kind(
        token="aws:s3/bucket:Bucket",
        service="s3",
        create=_make_bucket,
        read=_look_at_bucket,
        update=lambda *_: None,  # forceDestroy concerns this program alone
        delete=_remove_bucket,
        replace=frozenset({"bucket"}),
        name="bucket",
        gone=frozenset({"404", "NoSuchBucket"}),
        tags=_tag,
        settle=lambda aws, rid, inputs: _tag(aws, rid, inputs.get("tagsAll"), []),
    ),
    _setting(
        "BucketVersioning",
        lambda aws, i: aws.put_bucket_versioning(
            Bucket=i["bucket"], VersioningConfiguration={"Status": i["versioningConfiguration"]["status"]}
        ),
        lambda aws, rid: {
            "versioningConfiguration": {"status": aws.get_bucket_versioning(Bucket=rid).get("Status", "Disabled")}
        },
        # Versions can only be suspended, never undone.
        lambda aws, rid: aws.put_bucket_versioning(Bucket=rid, VersioningConfiguration={"Status": "Suspended"}),
        "NoSuchBucket",
    ),
    _setting(
        "BucketServerSideEncryptionConfiguration",
        _put_encryption,
        _look_at_encryption,
        lambda aws, rid: aws.delete_bucket_encryption(Bucket=rid),
        "ServerSideEncryptionConfigurationNotFoundError",
    ),
    _setting(
        "BucketPublicAccessBlock",
        lambda aws, i: aws.put_public_access_block(
            Bucket=i["bucket"],
            PublicAccessBlockConfiguration={name: i[key] for key, name in _CLOSED.items()},
        ),
        _look_at_access,
        lambda aws, rid: aws.delete_public_access_block(Bucket=rid),
        "NoSuchPublicAccessBlockConfiguration",
    ),
    _setting(
        "BucketPolicy",
        lambda aws, i: aws.put_bucket_policy(Bucket=i["bucket"], Policy=i["policy"]),
        lambda aws, rid: {"policy": aws.get_bucket_policy(Bucket=rid)["Policy"]},
        lambda aws, rid: aws.delete_bucket_policy(Bucket=rid),
        "NoSuchBucketPolicy",
        documents=("policy",),
    ),
    _setting(
        "BucketLifecycleConfiguration",
        _put_lifecycle,
        _look_at_lifecycle,
        lambda aws, rid: aws.delete_bucket_lifecycle(Bucket=rid),
        "NoSuchLifecycleConfiguration",
    ),
    _setting(
        "BucketOwnershipControls",
        lambda aws, i: aws.put_bucket_ownership_controls(
            Bucket=i["bucket"], OwnershipControls={"Rules": [{"ObjectOwnership": i["rule"]["objectOwnership"]}]}
        ),
        lambda aws, rid: {
            "rule": {
                "objectOwnership": aws.get_bucket_ownership_controls(Bucket=rid)["OwnershipControls"]["Rules"][0][
                    "ObjectOwnership"
                ]
            }
        },
        lambda aws, rid: aws.delete_bucket_ownership_controls(Bucket=rid),
        "OwnershipControlsNotFoundError",
    ),
)
