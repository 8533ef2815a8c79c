"""The keys that encrypt the cloud half: one for the cluster's secrets, one for data, one for logs."""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi_aws import kms

from infra.environment import Cloud


class Keys(pulumi.ComponentResource):
    """`cluster`, `data` and `logs`; each rotates every year."""

    cluster: kms.Key
    data: kms.Key
    logs: kms.Key

    def __init__(self, name: str, *, cloud: Cloud, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:cloud:Keys", name, None, opts)
        self._cloud = cloud
        self.cluster = self._key("cluster", "Secrets of the Kubernetes cluster")
        self.data = self._key("data", "Models, backups, images and volumes")
        self.logs = self._key("logs", "Logs", self._used_by_logs())
        self.register_outputs({})

    def _key(self, name: str, description: str, *statements: dict[str, Any]) -> kms.Key:
        # What a lost key encrypted is lost, so a key is protected like the data.
        opts = pulumi.ResourceOptions(parent=self, protect=not self._cloud.deletable)
        # The account decides through its IAM policies who may use the key. In a key's policy, * is that key.
        owner = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{self._cloud.account_id}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
        key = kms.Key(
            name,
            description=f"{self._cloud.cluster.name}: {description}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            policy=json.dumps({"Version": "2012-10-17", "Statement": [owner, *statements]}),
            opts=opts,
        )
        alias = f"alias/isthmus-{self._cloud.cluster.name}-{name}"
        kms.Alias(name, name=alias, target_key_id=key.key_id, opts=pulumi.ResourceOptions(parent=self))
        return key

    def _used_by_logs(self) -> dict[str, Any]:
        """CloudWatch Logs may use the key, for log groups of this account and region alone."""
        region, account = self._cloud.region, self._cloud.account_id
        return {
            "Effect": "Allow",
            "Principal": {"Service": f"logs.{region}.amazonaws.com"},
            "Action": ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            "Resource": "*",
            "Condition": {
                "ArnLike": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{region}:{account}:log-group:*"}
            },
        }
