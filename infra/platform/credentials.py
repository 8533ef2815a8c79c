"""Keys of object stores: made once, kept in the stack's encrypted state, mounted as files where they are used."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes import core

from infra.naming import CREDENTIALS_SECRET
from infra.platform import pods
from infra.resources import RandomSecret


@dataclass(frozen=True, kw_only=True)
class Keys:
    """A key pair of an S3 store."""

    access_key_id: pulumi.Input[str]
    secret_access_key: pulumi.Input[str]

    @property
    def mark(self) -> pulumi.Output[str]:
        """A plain text that changes when the key does."""
        return pods.fingerprint(self.access_key_id, self.secret_access_key)

    def secret_in(
        self, namespace: str, *, name: str = CREDENTIALS_SECRET, opts: pulumi.ResourceOptions
    ) -> core.v1.Secret:
        """The key as a Secret of a namespace whose pods use the store."""
        return core.v1.Secret(
            f"{namespace}-{name}",
            metadata=pods.metadata(name, namespace=namespace),
            string_data={
                "access_key_id": self.access_key_id,
                "secret_access_key": self.secret_access_key,
            },
            opts=opts,
        )


class Credentials(pulumi.ComponentResource):
    """The key with which workloads use the site's own store."""

    keys: Keys

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Credentials", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        # Garage takes a key from outside only if it looks like one of its own: GK and 24 hex digits, 64 hex digits.
        self.keys = Keys(
            access_key_id=RandomSecret(f"{name}-access-key-id", bytes=12, prefix="GK", opts=child).value,
            secret_access_key=RandomSecret(f"{name}-secret-access-key", bytes=32, opts=child).value,
        )
        self.register_outputs({})
