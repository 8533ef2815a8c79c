"""What every Prometheus of a site has in common: its files, its volume, its pod; what it reads and hears is its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core

from infra import quantities
from infra.artifacts import Index
from infra.environment import Monitoring as Settings
from infra.naming import STORAGE_CLASS
from infra.platform import pods, priorities
from infra.platform.monitoring import scraping
from infra.platform.monitoring.names import NAMESPACE, PROMETHEUS, PROMETHEUS_PORT

CONFIG_PATH: Final = "/etc/prometheus"
DATA_PATH: Final = "/prometheus"


def retention(capacity: str) -> str:
    """How much it keeps of its volume: the last fifth is for what it is about to rewrite."""
    return f"{int(quantities.parse(capacity) * 4 / 5)}B"


def files(app: str, what: str, content: dict[str, str], opts: pulumi.ResourceOptions) -> core.v1.ConfigMap:
    """Under a name that changes with the content, so that a change starts the pods anew."""
    name = f"{app}-{what}"
    metadata = pods.metadata(app, name=pods.content_name(name, content), namespace=NAMESPACE)
    return core.v1.ConfigMap(name, metadata=metadata, data=content, opts=opts)


def claims(settings: Settings, *, persistent: bool) -> list[core.v1.PersistentVolumeClaimArgsDict]:
    """The claim of each of its pods, where the site has volumes."""
    if not persistent:
        return []
    return [
        {
            "metadata": {"name": "data"},
            "spec": {
                "storage_class_name": STORAGE_CLASS,
                "access_modes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": settings.capacity}},
            },
        }
    ]


def pod(
    app: str,
    container: core.v1.ContainerArgsDict,
    settings: Settings,
    *,
    config: pulumi.Input[str],
    rules: pulumi.Input[str],
    persistent: bool,
    spread: list[core.v1.TopologySpreadConstraintArgsDict],
    more: Sequence[core.v1.VolumeArgsDict] = (),
) -> core.v1.PodSpecArgsDict:
    """`config` and `rules` are names of config maps; `more` are volumes beside these and its data."""
    volumes: list[core.v1.VolumeArgsDict] = [
        {"name": "config", "config_map": {"name": config}},
        {"name": "rules", "config_map": {"name": rules}},
        *more,
    ]
    if not persistent:
        volumes.append(pods.scratch("data", settings.capacity))
    return {
        "service_account_name": app,
        "priority_class_name": priorities.MONITORING,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "topology_spread_constraints": spread,
        # It writes down what it has in memory.
        "termination_grace_period_seconds": 60,
        "containers": [container],
        "volumes": volumes,
    }


def container(
    index: Index,
    settings: Settings,
    *,
    args: Sequence[str] = (),
    port: int = PROMETHEUS_PORT,
    port_name: str = "http",
    more: Sequence[core.v1.VolumeMountArgsDict] = (),
) -> core.v1.ContainerArgsDict:
    """`args` and the mounts `more` beside those that each has; how it is probed is for the caller to add."""
    mounts: list[Any] = [
        {"name": "config", "mount_path": CONFIG_PATH, "read_only": True},
        {"name": "rules", "mount_path": scraping.RULES_PATH, "read_only": True},
        {"name": "data", "mount_path": DATA_PATH},
        *more,
    ]
    return {
        "name": PROMETHEUS,
        "image": pods.image(index.artifact(PROMETHEUS)),
        "args": [
            f"--config.file={CONFIG_PATH}/prometheus.yml",
            f"--storage.tsdb.path={DATA_PATH}",
            f"--web.listen-address=:{port}",
            *args,
        ],
        "ports": [{"name": port_name, "container_port": port}],
        "resources": pods.amounts(settings.resources),
        "security_context": pods.locked(),
        "volume_mounts": mounts,
        "termination_message_policy": "FallbackToLogsOnError",
    }
