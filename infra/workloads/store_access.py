"""How a workload reaches the object store: the same settings, files and network policy for each."""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_kubernetes import core

from infra.naming import (
    ALIAS,
    CREDENTIALS_SECRET,
    OBJECT_STORE_NAMESPACE,
    S3_BUCKET,
    S3_ENDPOINT,
    S3_REGION,
)
from infra.platform import pods, policies
from infra.platform.object_store_settings import APP, S3_PORT

PATH: Final = "/var/run/secrets/object-store"
VOLUME: Final = "object-store"

MARK: Final = "isthmus.internal/credentials"
"""Annotation on pods that changes when the key does, so that they start with the new one."""


def settings(model: str) -> dict[str, str]:
    """The variables that tell a workload which model it is about, and where models are."""
    return {
        "ISTHMUS_S3_ENDPOINT": S3_ENDPOINT,
        "ISTHMUS_S3_REGION": S3_REGION,
        "ISTHMUS_S3_BUCKET": S3_BUCKET,
        "ISTHMUS_S3_CREDENTIALS_DIR": PATH,
        "ISTHMUS_MODEL": model,
        "ISTHMUS_ALIAS": ALIAS,
    }


def variables(values: dict[str, str]) -> list[core.v1.EnvVarArgsDict]:
    """A container's environment, in a fixed order."""
    return [{"name": name, "value": values[name]} for name in sorted(values)]


def volume() -> core.v1.VolumeArgsDict:
    """The key, as files."""
    return pods.mounted_secret(VOLUME, CREDENTIALS_SECRET, "access_key_id", "secret_access_key")


def mount() -> core.v1.VolumeMountArgsDict:
    """Where the key's files are."""
    return {"name": VOLUME, "mount_path": PATH, "read_only": True}


def network(
    app: str, namespace: str, *, ingress: list[policies.Ingress], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """Lets the app ask names and use the store, and be reached as `ingress` says."""
    store = policies.app(APP, within=OBJECT_STORE_NAMESPACE)
    egress: list[policies.Egress] = [policies.to_dns(), {"to": [store], "ports": policies.ports(S3_PORT)}]
    return policies.allow(app, namespace, ingress=ingress, egress=egress, opts=opts)
