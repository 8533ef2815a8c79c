"""What the object store is to be: its replicas, their configuration, and the state that its setup brings about.

Pure functions of the environment; object_store.py turns them into objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

from infra import quantities
from infra.environment import ObjectStore
from infra.naming import S3_REGION
from infra.platform.cluster import OBJECT_STORE_OFFSET, Cluster
from infra.platform.storage import replica_hosts

APP: Final = "garage"

S3_PORT: Final = 3900
RPC_PORT: Final = 3901
ADMIN_PORT: Final = 3903

VOLUME_PATH: Final = "/var/lib/garage"
CONFIG_PATH: Final = "/etc/garage"
SECRETS_PATH: Final = "/var/run/secrets/garage"


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One server of the store, which always lives on the same host."""

    name: str
    """Of its pod and of its Service."""
    host: str
    address: IPv4Address
    """Of its Service: the other replicas know it by this, whatever address its pod has today."""

    @property
    def claim(self) -> str:
        """The claim that the StatefulSet makes for its volume."""
        return f"data-{self.name}"


def replicas(cluster: Cluster, store: ObjectStore) -> tuple[Replica, ...]:
    """Every replica."""
    hosts = replica_hosts(cluster.workers, store.replicas)
    return tuple(
        Replica(name=f"{APP}-{i}", host=host, address=cluster.service_address(OBJECT_STORE_OFFSET + i))
        for i, host in enumerate(hosts)
    )


def copies(store: ObjectStore) -> int:
    """How many replicas keep each object: three bear the loss of one for reads and writes; a single one bears none."""
    return 3 if store.replicas >= 3 else 1


def config_file(replica: Replica, store: ObjectStore) -> str:
    """Garage's configuration (TOML) for one replica."""
    return f"""\
metadata_dir = "{VOLUME_PATH}/meta"
data_dir = "{VOLUME_PATH}/data"
db_engine = "lmdb"
replication_factor = {copies(store)}

# A host may lose power at any moment: what was acknowledged is on its disk.
metadata_fsync = true
data_fsync = true
metadata_auto_snapshot_interval = "6h"

# Uploads wait in memory for a slow replica up to this; the default is as much as a replica may use at all.
block_ram_buffer_max = "64MiB"

rpc_bind_addr = "0.0.0.0:{RPC_PORT}"
rpc_public_addr = "{replica.address}:{RPC_PORT}"
rpc_secret_file = "{SECRETS_PATH}/rpc_secret"
# Garage wants its secrets readable by their owner alone. Kubernetes gives them to the pod's group, which is only ours.
allow_world_readable_secrets = true

[s3_api]
api_bind_addr = "0.0.0.0:{S3_PORT}"
s3_region = "{S3_REGION}"

[admin]
api_bind_addr = "0.0.0.0:{ADMIN_PORT}"
admin_token_file = "{SECRETS_PATH}/admin_token"
"""


def desired_state(cluster: Cluster, store: ObjectStore, buckets: Mapping[str, str]) -> dict[str, Any]:
    """What scripts/object_store_setup.py brings about. `buckets`: each with the name of the key that opens it."""
    capacity = int(quantities.parse(store.capacity))
    return {
        "nodes": [
            {
                "admin": f"http://{replica.address}:{ADMIN_PORT}",
                "rpc": f"{replica.address}:{RPC_PORT}",
                "zone": replica.host,
                "capacity": capacity,
            }
            for replica in replicas(cluster, store)
        ],
        "buckets": dict(buckets),
    }
