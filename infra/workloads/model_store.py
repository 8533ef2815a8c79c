"""Where models are, and how a workload gets at them: settings, key files and network policy, the same for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core

from infra import naming
from infra.naming import ALIAS, CREDENTIALS_SECRET, WORKLOADS_NAMESPACE
from infra.platform import pods, policies
from infra.platform.credentials import Keys
from infra.platform.object_store_settings import APP, S3_PORT

PATH: Final = "/var/run/secrets"

PRIVATE: Final = tuple(IPv4Network(cidr) for cidr in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"))
"""Ranges that are nobody's on the internet."""

POD_IDENTITY: Final = IPv4Network("169.254.170.23/32")
"""Where the agent of EKS Pod Identity answers, on each node for its own pods."""

MARK: Final = "isthmus.internal/"
"""Begins the annotation on pods, named after the Secret, that changes when the key does."""


@dataclass(frozen=True, kw_only=True)
class ModelStore:
    """An S3 bucket of models as the pods of one cluster reach it."""

    region: str
    bucket: pulumi.Input[str]
    endpoint: pulumi.Input[str] | None = None
    """None is AWS's own."""
    keys: Keys | None = None
    """None where pods have a role by their service account."""
    egress: Sequence[policies.Egress] = field(default=())
    secret: str = CREDENTIALS_SECRET
    """The Secret that holds the keys."""

    def settings(self, prefix: str) -> dict[str, pulumi.Input[str]]:
        """The variables ISTHMUS_<prefix>_... that tell a workload where models are."""
        values = {
            "ENDPOINT": self.endpoint,
            "REGION": self.region,
            "BUCKET": self.bucket,
            "CREDENTIALS_DIR": f"{PATH}/{self.secret}" if self.keys else None,
        }
        return {f"ISTHMUS_{prefix}_{key}": value for key, value in values.items() if value is not None}

    def volumes(self) -> list[core.v1.VolumeArgsDict]:
        """The key, as files; nothing where there is none."""
        if self.keys is None:
            return []
        return [pods.mounted_secret(self.secret, self.secret, "access_key_id", "secret_access_key")]

    def mounts(self) -> list[core.v1.VolumeMountArgsDict]:
        """Where the key's files are."""
        if self.keys is None:
            return []
        return [{"name": self.secret, "mount_path": f"{PATH}/{self.secret}", "read_only": True}]

    def secrets(self, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        """The Secret of the workloads' namespace, if it takes one."""
        return [self.keys.secret_in(WORKLOADS_NAMESPACE, name=self.secret, opts=opts)] if self.keys else []

    def annotations(self) -> dict[str, pulumi.Input[str]]:
        """What makes pods start anew when the key changes."""
        return {f"{MARK}{self.secret}": self.keys.mark} if self.keys else {}


def garage(keys: Keys) -> ModelStore:
    """The on-prem store, from within its cluster."""
    store = policies.app(APP, within=naming.OBJECT_STORE_NAMESPACE)
    return ModelStore(
        endpoint=naming.S3_ENDPOINT,
        region=naming.S3_REGION,
        bucket=naming.S3_BUCKET,
        keys=keys,
        egress=[{"to": [store], "ports": policies.ports(S3_PORT)}],
    )


def garage_from_outside(
    keys: Keys,
    ingress_address: IPv4Address,
    *,
    bucket: str = naming.S3_BUCKET,
    secret: str = CREDENTIALS_SECRET,
) -> ModelStore:
    """The on-prem store, from the other end of the link."""
    port = naming.OBJECT_STORE.port
    return ModelStore(
        endpoint=f"http://{ingress_address}:{port}",
        region=naming.S3_REGION,
        bucket=bucket,
        keys=keys,
        egress=[{"to": [policies.network(IPv4Network(ingress_address))], "ports": policies.ports(port)}],
        secret=f"onprem-{secret}",
    )


def amazons(region: str, bucket: pulumi.Input[str]) -> ModelStore:
    """A bucket of Amazon's own, from within EKS: pods get keys for an hour at a time by their service account."""
    return ModelStore(
        region=region,
        bucket=bucket,
        egress=[
            {"to": [policies.network(POD_IDENTITY)], "ports": policies.ports(80)},
            # S3 has many addresses, which change; the way there is the VPC's own endpoint.
            {"to": [policies.outside(*PRIVATE)], "ports": policies.ports(443)},
        ],
    )


def variables(values: Mapping[str, pulumi.Input[str]]) -> list[core.v1.EnvVarArgsDict]:
    """A container's environment, in a fixed order."""
    return [{"name": name, "value": values[name]} for name in sorted(values)]


def about(model: str) -> dict[str, str]:
    """The variables that tell a workload which model it is about."""
    return {"ISTHMUS_MODEL": model, "ISTHMUS_ALIAS": ALIAS}


def account(app: str, opts: pulumi.ResourceOptions) -> core.v1.ServiceAccount:
    """Who the app is; in the cloud its rights hang on it. No pod gets a token of the cluster's API by it."""
    return core.v1.ServiceAccount(
        app,
        metadata=pods.metadata(app, namespace=WORKLOADS_NAMESPACE),
        automount_service_account_token=False,
        opts=opts,
    )


def network(
    app: str, *stores: ModelStore, ingress: list[policies.Ingress], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """Lets the app ask names and use the stores, and be reached as `ingress` says."""
    egress: list[Any] = [policies.to_dns(), *(rule for store in stores for rule in store.egress)]
    return policies.allow(app, WORKLOADS_NAMESPACE, ingress=ingress, egress=egress, opts=opts)
