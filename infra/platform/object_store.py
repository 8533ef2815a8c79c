"""The object store: Garage on several hosts, each object on three of them, so that one may be lost at any time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import core, policy

from infra.artifacts import Index
from infra.environment import ObjectStore as Settings
from infra.naming import (
    BACKUPS_BUCKET,
    BACKUPS_SECRET,
    CREDENTIALS_SECRET,
    OBJECT_STORE,
    OBJECT_STORE_NAMESPACE,
    S3_BUCKET,
    WORKLOADS_NAMESPACE,
)
from infra.platform import namespaces, object_store_servers, pods, policies
from infra.platform.cluster import Cluster
from infra.platform.credentials import Keys
from infra.platform.object_store_settings import (
    ADMIN_PORT,
    APP,
    RPC_PORT,
    S3_PORT,
    Replica,
    config_file,
    desired_state,
    replicas,
)
from infra.platform.object_store_setup import APP as SETUP
from infra.platform.object_store_setup import SECRETS, ObjectStoreSetup, OpenedBy
from infra.platform.published import publish
from infra.platform.storage import LocalVolumes
from infra.resources import RandomSecret

NAMESPACE: Final = OBJECT_STORE_NAMESPACE
KEY_NAMES: Final = {S3_BUCKET: "workloads", BACKUPS_BUCKET: "hosts"}
"""What Garage calls the key of each bucket: who has it."""


@dataclass(frozen=True, kw_only=True)
class ObjectStoreArgs:
    """The cluster, the environment's settings of the store, and the mirror's images."""

    cluster: Cluster
    settings: Settings
    index: Index
    published: bool
    """Whether the site's hosts hand it on, for the site at the other end of the link."""
    keys: Keys
    """What opens its bucket of models."""
    backups_keys: Keys | None = None
    """What opens its bucket for hosts' backups, on their way to the other site; None where there is none."""
    metrics_readers: tuple[policies.Peer, ...] = ()
    """Who may ask how it is, at the port of its administration, which does more only for who has its token."""


class ObjectStore(pulumi.ComponentResource):
    """`ready` is done once its bucket of models answers to the keys."""

    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: ObjectStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:ObjectStore", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        members = replicas(args.cluster, args.settings)
        volumes = LocalVolumes(
            "object-store-volumes",
            claims={member.claim: member.host for member in members},
            capacity=args.settings.capacity,
            opts=child,
        )
        namespace = namespaces.confined(NAMESPACE, opts=child)
        inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        opened = {S3_BUCKET: OpenedBy(keys=args.keys, secret=CREDENTIALS_SECRET)}
        if args.backups_keys:
            opened[BACKUPS_BUCKET] = OpenedBy(keys=args.backups_keys, secret=BACKUPS_SECRET)
        secrets = self._secrets(opened.values(), inside)
        self._reachable(members, args.metrics_readers, inside)
        if args.published:
            publish(APP, NAMESPACE, S3_PORT, OBJECT_STORE, port_name="s3", cluster=args.cluster, opts=inside)
        files = {f"{member.name}.toml": config_file(member, args.settings) for member in members}
        config = core.v1.ConfigMap(
            "garage-config",
            metadata=pods.metadata(APP, name=pods.content_name("garage-config", files), namespace=NAMESPACE),
            data=files,
            opts=inside,
        )
        needed = pulumi.ResourceOptions(parent=self, depends_on=[namespace, *secrets, *volumes.volumes])
        servers = object_store_servers.stateful_set(
            members,
            image=pods.image(args.index.artifact("garage")),
            resources=args.settings.resources,
            capacity=args.settings.capacity,
            config=config.metadata["name"],
            opts=needed,
        )
        # Beside the servers, not after them: they become ready only when the setup has given them a layout.
        setup = ObjectStoreSetup(
            SETUP,
            state=desired_state(args.cluster, args.settings, {bucket: KEY_NAMES[bucket] for bucket in opened}),
            image=pods.image(args.index.artifact("inference")),
            keys=opened,
            opts=needed,
        )
        self.ready = [servers, setup.job]
        self.register_outputs({})

    def _secrets(self, opened: Iterable[OpenedBy], inside: pulumi.ResourceOptions) -> list[core.v1.Secret]:
        child = pulumi.ResourceOptions(parent=self)
        rpc = RandomSecret("object-store-rpc-secret", bytes=32, opts=child).value
        admin = RandomSecret("object-store-admin-token", bytes=32, opts=child).value
        own = core.v1.Secret(
            SECRETS,
            metadata=pods.metadata(APP, name=SECRETS, namespace=NAMESPACE),
            string_data={"rpc_secret": rpc, "admin_token": admin},
            opts=inside,
        )
        return [own, *(key.keys.secret_in(NAMESPACE, name=key.secret, opts=inside) for key in opened)]

    def _reachable(
        self, members: tuple[Replica, ...], readers: tuple[policies.Peer, ...], inside: pulumi.ResourceOptions
    ) -> None:
        """The store's address, each replica's own, who may use them, and how many may be taken away at once."""
        for service in object_store_servers.services(members):
            core.v1.Service(service["metadata"]["name"], **service, opts=inside)
        policies.allow(
            APP,
            NAMESPACE,
            ingress=[
                {"from_": [policies.namespace(WORKLOADS_NAMESPACE)], "ports": policies.ports(S3_PORT)},
                {"from_": [policies.app(APP)], "ports": policies.ports(RPC_PORT)},
                {"from_": [policies.app(SETUP), *readers], "ports": policies.ports(ADMIN_PORT)},
            ],
            egress=[{"to": [policies.app(APP)], "ports": policies.ports(RPC_PORT)}],
            opts=inside,
        )
        policy.v1.PodDisruptionBudget(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "max_unavailable": 1,
                "selector": {"match_labels": pods.selector(APP)},
                # A replica that is broken anyway must not keep its host from being drained.
                "unhealthy_pod_eviction_policy": "AlwaysAllow",
            },
            opts=inside,
        )
