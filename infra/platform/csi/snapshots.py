"""Snapshots of volumes: their kinds of objects and the controller that binds them, whichever driver makes them."""

from __future__ import annotations

from typing import Any, Final

import pulumi
from pulumi_kubernetes import apps

from infra.artifacts import Index
from infra.naming import STORAGE_NAMESPACE as NAMESPACE
from infra.platform import chart, manifests, pods, priorities
from infra.platform.cluster import Cluster
from infra.platform.csi import access

APP: Final = "snapshot-controller"
GROUP: Final = "snapshot.storage.k8s.io"
FILES: Final = f"{GROUP}_*.yaml"
"""Upstream's definitions, without those of groups of snapshots, which no driver here makes."""


def definitions(index: Index) -> list[chart.Manifest]:
    """The definitions as the SDK spells them: Kubernetes' own extensions of a schema with underscores."""
    folder = index.artifact("snapshot-crds").local
    text = "\n---\n".join(path.read_text() for path in sorted(folder.glob(FILES)))
    return [_spelled({key: one[key] for key in one if key != "status"}) for one in chart.parse(text)]


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key.replace("-", "_") if key.startswith("x-kubernetes-") else key: _spelled(item)
            for key, item in value.items()
        }
    return [_spelled(item) for item in value] if isinstance(value, list) else value


class Snapshots(pulumi.ComponentResource):
    """`definitions` are the kinds of objects, `deployment` the controller."""

    definitions: list[pulumi.Resource]
    deployment: apps.v1.Deployment

    def __init__(self, name: str, *, cluster: Cluster, index: Index, opts: pulumi.ResourceOptions) -> None:
        super().__init__("isthmus:platform:Snapshots", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.definitions = manifests.create(definitions(index), opts=child)
        may = access.controller(APP, _RULES, cluster=cluster, opts=child)
        self.deployment = apps.v1.Deployment(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                # One, and so no leader to elect: while it moves to another host, snapshots wait.
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"match_labels": pods.selector(APP)},
                "template": {
                    "metadata": {"labels": pods.selector(APP)},
                    "spec": {
                        "service_account_name": APP,
                        "enable_service_links": False,
                        "priority_class_name": priorities.STORAGE,
                        "security_context": pods.unprivileged(),
                        "containers": [
                            {
                                "name": APP,
                                "image": pods.image(index.artifact("snapshot-controller")),
                                # Told of changes; a look at everything each 15 minutes is upstream's.
                                "args": ["--leader-election=false", "--worker-threads=2"],
                                "resources": {
                                    "requests": {"cpu": "5m", "memory": "32Mi"},
                                    "limits": {"cpu": "200m", "memory": "128Mi"},
                                },
                                "security_context": pods.locked(),
                            }
                        ],
                    },
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*self.definitions, *may]),
        )
        self.register_outputs({})


_CHANGE: Final = ("update", "patch")
_RULES: Final = (
    access.rule("", ["persistentvolumes"], *access.READ),
    access.rule("", ["persistentvolumeclaims"], *access.READ, "update"),
    access.EVENTS,
    access.rule(GROUP, ["volumesnapshotclasses"], *access.READ),
    access.rule(GROUP, ["volumesnapshotcontents", "volumesnapshots"], *access.READ, "create", "delete", *_CHANGE),
    access.rule(GROUP, ["volumesnapshotcontents/status", "volumesnapshots/status"], *_CHANGE),
)
