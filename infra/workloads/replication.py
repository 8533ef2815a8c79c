"""Replication: the champion of the store that training publishes to, copied to the other site's store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core

from infra.artifacts import Artifact
from infra.naming import WORKLOADS_NAMESPACE as NAMESPACE
from infra.platform import pods, policies, priorities
from infra.workloads import model_store
from infra.workloads.model_store import ModelStore

APP: Final = "replication"
PORT: Final = 8080

SCRATCH: Final = "256Mi"
"""The largest model that it copies waits here until it is whole."""


@dataclass(frozen=True, kw_only=True)
class ReplicationArgs:
    """Both stores as the pods of this cluster reach them; `poll_seconds`: how soon a new champion is noticed."""

    model: str
    image: Artifact
    source: ModelStore
    destination: ModelStore
    poll_seconds: int
    metrics_readers: Sequence[policies.Peer] = ()


class Replication(pulumi.ComponentResource):
    """One pod: two would copy the same model twice, and while there is none the other site serves what it has."""

    def __init__(self, name: str, args: ReplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:workloads:Replication", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        stores = (args.source, args.destination)
        account = model_store.account(APP, child)
        network = model_store.network(APP, *stores, ingress=policies.read_by(args.metrics_readers, PORT), opts=child)
        apps.v1.Deployment(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "replicas": 1,
                "selector": {"match_labels": pods.selector(APP)},
                "strategy": {"type": "Recreate"},
                "template": {
                    "metadata": {
                        "labels": pods.selector(APP),
                        "annotations": args.source.annotations() | args.destination.annotations(),
                    },
                    "spec": _pod(args),
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[network, account]),
        )
        self.register_outputs({})


def _pod(args: ReplicationArgs) -> core.v1.PodSpecArgsDict:
    own = {
        "ISTHMUS_POLL_SECONDS": str(args.poll_seconds),
        "ISTHMUS_SCRATCH_DIR": "/tmp",
        "ISTHMUS_SCRATCH_BYTES": str(256 * 2**20),
        "HOME": "/tmp",
    }
    where = args.source.settings("SOURCE") | args.destination.settings("DESTINATION")
    probe: core.v1.ProbeArgsDict = {
        "http_get": {"path": "/healthz", "port": "http"},
        "period_seconds": 20,
        "timeout_seconds": 3,
    }
    return {
        "service_account_name": APP,
        "priority_class_name": priorities.BATCH,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "containers": [
            {
                "name": APP,
                "image": pods.image(args.image),
                "env": model_store.variables(where | model_store.about(args.model) | own),
                "ports": [{"name": "http", "container_port": PORT}],
                "resources": {
                    "requests": {"cpu": "10m", "memory": "48Mi"},
                    "limits": {"cpu": "500m", "memory": "192Mi"},
                },
                "security_context": pods.locked(),
                "volume_mounts": [
                    *args.source.mounts(),
                    *args.destination.mounts(),
                    {"name": "tmp", "mount_path": "/tmp"},
                ],
                "liveness_probe": probe,
                "termination_message_policy": "FallbackToLogsOnError",
            }
        ],
        "volumes": [*args.source.volumes(), *args.destination.volumes(), pods.scratch("tmp", SCRATCH)],
    }
