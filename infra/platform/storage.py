"""The object store's volumes: each a folder of one host. All other volumes come from a CSI driver (csi/)."""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_kubernetes import core, storage

from infra.naming import OBJECT_STORE_NAMESPACE, OBJECT_STORE_PATH
from infra.platform import pods

CLASS: Final = "isthmus-local"


def replica_hosts(workers: tuple[str, ...], replicas: int) -> tuple[str, ...]:
    """The hosts that keep a replica each: the first ones, so that a host added at the end moves nothing."""
    return workers[:replicas]


class LocalVolumes(pulumi.ComponentResource):
    """One volume per replica of the object store, bound to its host and to the claim of its replica.

    The folder itself is made by the hosts' roles. Volumes are retained: only a person deletes data.
    """

    def __init__(
        self, name: str, *, claims: dict[str, str], capacity: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """`claims`: name of the claim -> name of the host."""
        super().__init__("isthmus:platform:LocalVolumes", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        storage.v1.StorageClass(
            CLASS,
            metadata=pods.metadata(CLASS),
            provisioner="kubernetes.io/no-provisioner",
            reclaim_policy="Retain",
            volume_binding_mode="WaitForFirstConsumer",
            opts=child,
        )
        self.volumes = [
            core.v1.PersistentVolume(
                f"object-store-{host}",
                metadata=pods.metadata("object-store", name=f"object-store-{host}"),
                spec={
                    "storage_class_name": CLASS,
                    "capacity": {"storage": capacity},
                    "access_modes": ["ReadWriteOnce"],
                    "persistent_volume_reclaim_policy": "Retain",
                    "claim_ref": {"namespace": OBJECT_STORE_NAMESPACE, "name": claim},
                    # Not hostPath: only a `local` volume is handed to the pod's group, so that no container is root.
                    "local": {"path": OBJECT_STORE_PATH},
                    "node_affinity": {"required": {"node_selector_terms": [on_host(host)]}},
                },
                opts=child,
            )
            for claim, host in claims.items()
        ]
        self.register_outputs({})


def on_host(host: str) -> core.v1.NodeSelectorTermArgsDict:
    """Selects one node."""
    return {"match_expressions": [{"key": pods.HOSTNAME, "operator": "In", "values": [host]}]}
