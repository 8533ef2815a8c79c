"""The object store's secrets: made once, kept in the stack's encrypted state, mounted as files where they are used."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes import core

from infra.naming import CREDENTIALS_SECRET
from infra.platform import pods
from infra.resources import RandomSecret


class Credentials(pulumi.ComponentResource):
    """The key with which workloads use the store; `mark` is a plain text that changes when the key does."""

    access_key_id: pulumi.Output[str]
    secret_access_key: pulumi.Output[str]
    mark: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Credentials", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        # Garage takes a key from outside only if it looks like one of its own: GK and 24 hex digits, 64 hex digits.
        self.access_key_id = RandomSecret(f"{name}-access-key-id", bytes=12, prefix="GK", opts=child).value
        self.secret_access_key = RandomSecret(f"{name}-secret-access-key", bytes=32, opts=child).value
        self.mark = pods.fingerprint(self.access_key_id, self.secret_access_key)
        self.register_outputs({})

    def secret_in(self, namespace: str, *, opts: pulumi.ResourceOptions) -> core.v1.Secret:
        """The key as a Secret of a namespace whose pods use the store."""
        return core.v1.Secret(
            f"{namespace}-{CREDENTIALS_SECRET}",
            metadata=pods.metadata(CREDENTIALS_SECRET, namespace=namespace),
            string_data={
                "access_key_id": self.access_key_id,
                "secret_access_key": self.secret_access_key,
            },
            opts=opts,
        )
