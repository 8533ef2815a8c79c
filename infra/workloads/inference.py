"""Inference: the champion, served from several hosts through the site's ingress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core, policy

from infra.artifacts import Artifact
from infra.environment import Inference as Settings
from infra.naming import INGRESS_CHECK_PATH, INGRESS_NODE_PORT
from infra.naming import WORKLOADS_NAMESPACE as NAMESPACE
from infra.platform import pods, policies, priorities
from infra.workloads import store_access

APP: Final = "inference"
PORT: Final = 8080

LIVE_PATH: Final = "/v2/health/live"


@dataclass(frozen=True, kw_only=True)
class InferenceArgs:
    """`ingress`: the ranges that the site's load balancers send from; `credentials`: changes with the store's key."""

    settings: Settings
    image: Artifact
    ingress: Sequence[IPv4Network]
    credentials: pulumi.Input[str]


class Inference(pulumi.ComponentResource):
    """`deployment` is done once every replica serves a model."""

    deployment: apps.v1.Deployment
    service: core.v1.Service

    def __init__(self, name: str, args: InferenceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:workloads:Inference", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        network = store_access.network(
            APP,
            NAMESPACE,
            ingress=[{"from_": [policies.network(cidr) for cidr in args.ingress], "ports": policies.ports(PORT)}],
            opts=child,
        )
        policy.v1.PodDisruptionBudget(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "max_unavailable": 1,
                "selector": {"match_labels": pods.selector(APP)},
                "unhealthy_pod_eviction_policy": "AlwaysAllow",
            },
            opts=child,
        )
        self.deployment = apps.v1.Deployment(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "replicas": args.settings.replicas,
                "selector": {"match_labels": pods.selector(APP)},
                # The old pods stay until the new ones serve.
                "strategy": {"rolling_update": {"max_surge": 1, "max_unavailable": 0}},
                "progress_deadline_seconds": 300,
                "template": {
                    "metadata": {"labels": pods.selector(APP), "annotations": {store_access.MARK: args.credentials}},
                    "spec": _pod(args.settings, pods.image(args.image)),
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[network]),
        )
        self.service = core.v1.Service(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "type": "NodePort",
                # Each host answers for its own pods alone: a check of a host's port is a check of what it would serve.
                "external_traffic_policy": "Local",
                "selector": pods.selector(APP),
                "ports": [{"name": "http", "port": 80, "target_port": PORT, "node_port": INGRESS_NODE_PORT}],
            },
            opts=child,
        )
        self.register_outputs({})


def _pod(settings: Settings, image: str) -> core.v1.PodSpecArgsDict:
    return {
        "priority_class_name": priorities.SERVING,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "topology_spread_constraints": pods.apart(APP),
        "termination_grace_period_seconds": 30,
        "containers": [_container(settings, image)],
        "volumes": [store_access.volume(), pods.scratch("tmp", "64Mi")],
    }


def _container(settings: Settings, image: str) -> core.v1.ContainerArgsDict:
    own = {"ISTHMUS_POLL_SECONDS": str(settings.poll_seconds), "HOME": "/tmp"}
    return {
        "name": APP,
        "image": image,
        "env": store_access.variables(store_access.settings(settings.model) | own),
        "ports": [{"name": "http", "container_port": PORT}],
        "resources": pods.amounts(settings.resources),
        "security_context": pods.locked(),
        "volume_mounts": [store_access.mount(), {"name": "tmp", "mount_path": "/tmp"}],
        # The load balancers ask twice a second whether a model is served; the kubelet asks seldom, to save CPU.
        "startup_probe": _probe(LIVE_PATH, period=2, failures=45),
        "readiness_probe": _probe(INGRESS_CHECK_PATH, period=5, failures=2),
        "liveness_probe": _probe(LIVE_PATH, period=20, failures=3),
        "termination_message_policy": "FallbackToLogsOnError",
    }


def _probe(path: str, *, period: int, failures: int) -> core.v1.ProbeArgsDict:
    return {
        "http_get": {"path": path, "port": "http"},
        "period_seconds": period,
        "timeout_seconds": 3,
        "failure_threshold": failures,
    }
