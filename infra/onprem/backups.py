"""What backups of a site's hosts need to leave it: something to seal them with, and the store that takes them.

Hosts have the certificate alone, so that nobody who takes a copy, from a store or on its way, can open it: there are
the cluster's authorities in it, and the key for its secrets. The private key is in the engine's state, off the site.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pulumi

from infra import naming
from infra.resources import Certificate


class Backups(pulumi.ComponentResource):
    """`private_key` (PEM, secret) opens what was sealed."""

    private_key: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:onprem:Backups", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        seal = Certificate(f"{name}-seal", names=["backups.isthmus.internal"], opts=child)
        self._certificate = seal.certificate
        self.private_key = pulumi.Output.secret(seal.private_key)
        self.register_outputs({})

    def store(self, ingress_address: IPv4Address) -> dict[str, Any]:
        """The site's own object store, at its ingress address, as role `etcd_backup` takes it."""
        return {
            "url": f"http://{ingress_address}:{naming.OBJECT_STORE.port}",
            "region": naming.S3_REGION,
            "bucket": naming.BACKUPS_BUCKET,
            "namespace": naming.OBJECT_STORE_NAMESPACE,
            "secret": naming.BACKUPS_SECRET,
            "certificate": self._certificate,
        }
