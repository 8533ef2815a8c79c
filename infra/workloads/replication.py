"""Replication: what one site's store has, copied to the other's: the champion, and backups of hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core

from infra.artifacts import Artifact
from infra.environment import Inference
from infra.naming import WORKLOADS_NAMESPACE as NAMESPACE
from infra.platform import pods, policies, priorities
from infra.workloads import model_store
from infra.workloads.model_store import ModelStore

PORT: Final = 8080


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one pod copies."""

    app: str
    """Its name. In the cloud its rights hang on that, so each kind of work has its own."""
    variables: Mapping[str, str]
    """What tells the program so."""
    poll_seconds: int
    """How soon something new, or a healed link, is noticed."""
    scratch_mib: int
    """The largest object that it copies waits in so much room until it is whole."""


def champion(settings: Inference) -> Work:
    """The champion that training publishes."""
    about = model_store.about(settings.model)
    return Work(app="replication", variables=about, poll_seconds=settings.poll_seconds, scratch_mib=256)


def backups(hosts: Sequence[str]) -> Work:
    """The newest backup of each of the hosts, which make one in six hours."""
    return Work(app="backup", variables={"ISTHMUS_BACKUPS_OF": ",".join(hosts)}, poll_seconds=60, scratch_mib=2048)


@dataclass(frozen=True, kw_only=True)
class Copies:
    """What is copied from which store to which; both as the pods of this cluster reach them."""

    work: Work
    source: ModelStore
    destination: ModelStore


@dataclass(frozen=True, kw_only=True)
class ReplicationArgs:
    """`metrics_readers`: the pods that may read its metrics."""

    copies: Copies
    image: Artifact
    metrics_readers: Sequence[policies.Peer] = ()


class Replication(pulumi.ComponentResource):
    """One pod: two would copy the same twice, and while there is none either store has what it had."""

    def __init__(self, name: str, args: ReplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:workloads:Replication", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        source, destination, app = args.copies.source, args.copies.destination, args.copies.work.app
        account = model_store.account(app, child)
        ingress = policies.read_by(args.metrics_readers, PORT)
        network = model_store.network(app, source, destination, ingress=ingress, opts=child)
        apps.v1.Deployment(
            app,
            metadata=pods.metadata(app, namespace=NAMESPACE),
            spec={
                "replicas": 1,
                "selector": {"match_labels": pods.selector(app)},
                "strategy": {"type": "Recreate"},
                "template": {
                    "metadata": {
                        "labels": pods.selector(app),
                        "annotations": source.annotations() | destination.annotations(),
                    },
                    "spec": _pod(args),
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[network, account]),
        )
        self.register_outputs({})


def _pod(args: ReplicationArgs) -> core.v1.PodSpecArgsDict:
    source, destination, work = args.copies.source, args.copies.destination, args.copies.work
    own = {
        "ISTHMUS_POLL_SECONDS": str(work.poll_seconds),
        "ISTHMUS_SCRATCH_DIR": "/tmp",
        "ISTHMUS_SCRATCH_BYTES": str(work.scratch_mib * 2**20),
        "HOME": "/tmp",
    }
    where = source.settings("SOURCE") | destination.settings("DESTINATION")
    probe: core.v1.ProbeArgsDict = {
        "http_get": {"path": "/healthz", "port": "http"},
        "period_seconds": 20,
        "timeout_seconds": 3,
    }
    return {
        "service_account_name": work.app,
        "priority_class_name": priorities.BATCH,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "containers": [
            {
                "name": work.app,
                "image": pods.image(args.image),
                "env": model_store.variables(where | dict(work.variables) | own),
                "ports": [{"name": "http", "container_port": PORT}],
                "resources": {
                    "requests": {"cpu": "10m", "memory": "48Mi"},
                    "limits": {"cpu": "500m", "memory": "192Mi"},
                },
                "security_context": pods.locked(),
                "volume_mounts": [
                    *source.mounts(),
                    *destination.mounts(),
                    {"name": "tmp", "mount_path": "/tmp"},
                ],
                "liveness_probe": probe,
                "termination_message_policy": "FallbackToLogsOnError",
            }
        ],
        "volumes": [*source.volumes(), *destination.volumes(), pods.scratch("tmp", f"{work.scratch_mib}Mi")],
    }
