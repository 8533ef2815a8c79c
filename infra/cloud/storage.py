"""Where the cloud half keeps models, backups and images: encrypted, versioned, closed to the public."""

from __future__ import annotations

import json

import pulumi
from pulumi_aws import ecr, s3

from infra.cloud.identity import policy
from infra.environment import Cloud

KEEP_OLD_DAYS = 90
"""How long an overwritten or deleted object can be had back."""

KEEP_IMAGES = 30
"""How many images a repository keeps."""


class Bucket(pulumi.ComponentResource):
    """A bucket that gives nothing away and forgets nothing at once. `bucket` has its name and ARN."""

    bucket: s3.Bucket

    def __init__(
        self, name: str, *, cloud: Cloud, key: pulumi.Input[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("isthmus:cloud:Bucket", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.bucket = s3.Bucket(
            name,
            force_destroy=cloud.deletable,
            opts=pulumi.ResourceOptions(parent=self, protect=not cloud.deletable),
        )
        place = self.bucket.bucket
        s3.BucketOwnershipControls(name, bucket=place, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child)
        closed = s3.BucketPublicAccessBlock(
            name,
            bucket=place,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        versioning = s3.BucketVersioning(name, bucket=place, versioning_configuration={"status": "Enabled"}, opts=child)
        s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=place,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": key},
                    # One call of KMS for many objects.
                    "bucket_key_enabled": True,
                }
            ],
            opts=child,
        )
        s3.BucketLifecycleConfiguration(
            name,
            bucket=place,
            rules=[
                {
                    "id": "old-versions",
                    "status": "Enabled",
                    "filter": {},
                    "noncurrent_version_expiration": {"noncurrent_days": KEEP_OLD_DAYS},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
                }
            ],
            # Rules on versions mean something only where there are versions.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versioning]),
        )
        encrypted_transport = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [self.bucket.arn, pulumi.Output.concat(self.bucket.arn, "/*")],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
        s3.BucketPolicy(
            name,
            bucket=place,
            policy=pulumi.Output.json_dumps(policy(encrypted_transport)),
            # Two changes of who may use a bucket at the same time are a conflict.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[closed]),
        )
        self.register_outputs({})


class Repository(pulumi.ComponentResource):
    """A repository of images whose tags never move. `repository` has its URL."""

    repository: ecr.Repository

    def __init__(
        self, name: str, *, cloud: Cloud, key: pulumi.Input[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("isthmus:cloud:Repository", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.repository = ecr.Repository(
            name,
            name=f"{cloud.cluster.name}/{name}",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[{"encryption_type": "KMS", "kms_key": key}],
            force_delete=cloud.deletable,
            opts=child,
        )
        rule = {
            "rulePriority": 1,
            "description": f"Keep the last {KEEP_IMAGES}",
            "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": KEEP_IMAGES},
            "action": {"type": "expire"},
        }
        ecr.LifecyclePolicy(name, repository=self.repository.name, policy=json.dumps({"rules": [rule]}), opts=child)
        self.register_outputs({})
