"""The object store's servers: a StatefulSet, the Service that clients use, and one Service for each replica."""

from __future__ import annotations

from typing import Any, Final

import pulumi
from pulumi_kubernetes import apps, core

from infra.environment import Resources
from infra.naming import OBJECT_STORE_NAMESPACE as NAMESPACE
from infra.platform import pods, priorities, storage
from infra.platform.object_store_settings import (
    ADMIN_PORT,
    APP,
    CONFIG_PATH,
    RPC_PORT,
    S3_PORT,
    SECRETS_PATH,
    VOLUME_PATH,
    Replica,
)
from infra.platform.object_store_setup import SECRETS

PEERS: Final = "garage-peers"
"""The Service without an address that a StatefulSet must name."""


def services(members: tuple[Replica, ...]) -> list[dict[str, Any]]:
    """The Services as metadata and spec: `garage` leads to servers that can serve, the others to any that runs."""
    peer_ports = [{"name": "rpc", "port": RPC_PORT}, {"name": "admin", "port": ADMIN_PORT}]
    result = [
        {
            "metadata": pods.metadata(APP, namespace=NAMESPACE),
            "spec": {"selector": pods.selector(APP), "ports": [{"name": "s3", "port": S3_PORT}]},
        },
        {
            "metadata": pods.metadata(APP, name=PEERS, namespace=NAMESPACE),
            "spec": {"selector": pods.selector(APP), "cluster_ip": "None", "ports": peer_ports},
        },
    ]
    for member in members:
        spec = {
            "selector": {"statefulset.kubernetes.io/pod-name": member.name},
            "cluster_ip": str(member.address),
            # Replicas must find each other to become ready.
            "publish_not_ready_addresses": True,
            "ports": peer_ports,
        }
        result.append({"metadata": pods.metadata(APP, name=member.name, namespace=NAMESPACE), "spec": spec})
    return result


def stateful_set(
    members: tuple[Replica, ...],
    *,
    image: str,
    resources: Resources,
    capacity: str,
    config: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> apps.v1.StatefulSet:
    """One server on each member's host. Changes reach one server at a time, the next once it serves again."""
    return apps.v1.StatefulSet(
        APP,
        metadata=pods.metadata(APP, namespace=NAMESPACE),
        spec={
            "service_name": PEERS,
            "replicas": len(members),
            "pod_management_policy": "Parallel",
            "selector": {"match_labels": pods.selector(APP)},
            "template": {
                "metadata": {"labels": pods.selector(APP)},
                "spec": _pod(_container(image, resources), config),
            },
            "volume_claim_templates": [
                {
                    "metadata": {"name": "data"},
                    "spec": {
                        "storage_class_name": storage.CLASS,
                        "access_modes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": capacity}},
                    },
                }
            ],
        },
        opts=opts,
    )


def _pod(container: core.v1.ContainerArgsDict, config: pulumi.Input[str]) -> core.v1.PodSpecArgsDict:
    return {
        "priority_class_name": priorities.STORAGE,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "affinity": {
            "pod_anti_affinity": {
                "required_during_scheduling_ignored_during_execution": [
                    {"topology_key": pods.HOSTNAME, "label_selector": {"match_labels": pods.selector(APP)}}
                ]
            }
        },
        "containers": [container],
        "volumes": [
            {"name": "config", "config_map": {"name": config}},
            pods.mounted_secret("secrets", SECRETS, "rpc_secret", "admin_token"),
        ],
    }


def _container(image: str, resources: Resources) -> core.v1.ContainerArgsDict:
    return {
        "name": APP,
        "image": image,
        "command": ["/garage", "server"],
        "env": [
            {"name": "POD_NAME", "value_from": {"field_ref": {"field_path": "metadata.name"}}},
            {"name": "GARAGE_CONFIG_FILE", "value": f"{CONFIG_PATH}/$(POD_NAME).toml"},
            # Not a line for each request, most of which are the kubelet's.
            {"name": "RUST_LOG", "value": "netapp=info,garage=info,garage_api_common=warn"},
        ],
        "ports": [
            {"name": "s3", "container_port": S3_PORT},
            {"name": "rpc", "container_port": RPC_PORT},
            {"name": "admin", "container_port": ADMIN_PORT},
        ],
        "resources": pods.amounts(resources),
        "security_context": pods.locked(),
        "volume_mounts": [
            {"name": "data", "mount_path": VOLUME_PATH},
            {"name": "config", "mount_path": CONFIG_PATH, "read_only": True},
            {"name": "secrets", "mount_path": SECRETS_PATH, "read_only": True},
        ],
        # Ready: sees enough of the other replicas to read and write. Alive: answers at all; a server that only misses
        # the others must not be restarted for it.
        "readiness_probe": {
            "http_get": {"path": "/health", "port": ADMIN_PORT},
            "period_seconds": 5,
            "timeout_seconds": 3,
            "failure_threshold": 2,
        },
        "liveness_probe": {
            "tcp_socket": {"port": S3_PORT},
            "initial_delay_seconds": 10,
            "period_seconds": 20,
            "timeout_seconds": 5,
            "failure_threshold": 4,
        },
    }
