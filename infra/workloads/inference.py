"""Inference: the champion, served from several hosts through the site's ingress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import apps, autoscaling, core, policy

from infra import quantities
from infra.artifacts import Artifact
from infra.autoscaling import Autoscaling
from infra.environment import Inference as Settings
from infra.naming import INGRESS_CHECK_PATH, INGRESS_NODE_PORT, INGRESS_POD_PORT, INGRESS_PODS, REQUESTS_METRIC
from infra.naming import WORKLOADS_NAMESPACE as NAMESPACE
from infra.platform import mesh, pods, policies, priorities, published
from infra.platform.cluster import Cluster
from infra.workloads import model_store
from infra.workloads.model_store import ModelStore

APP: Final = "inference"
PORT: Final = INGRESS_POD_PORT

LIVE_PATH: Final = "/v2/health/live"

SCALING_PERIOD_S: Final = 60
"""The number at most doubles, and at most halves, within this: what is measured is up to half of it old, and a replica
takes some of it to start, so that sooner than this nobody knows what the last change has done."""


@dataclass(frozen=True, kw_only=True)
class InferenceArgs:
    """`patience_s`: longest wait for a first model. `readers`: who else may ask it."""

    settings: Settings
    image: Artifact
    cluster: Cluster
    store: ModelStore
    patience_s: int
    readers: Sequence[policies.Peer] = ()


class Inference(pulumi.ComponentResource):
    """`deployment` is done once every replica serves a model."""

    deployment: apps.v1.Deployment
    service: core.v1.Service

    def __init__(self, name: str, args: InferenceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:workloads:Inference", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        account = model_store.account(APP, child)
        network = model_store.network(
            APP,
            args.store,
            ingress=[
                {
                    "from_": [
                        *(policies.network(cidr) for cidr in args.cluster.senders),
                        *mesh.others(args.cluster),
                        *args.readers,
                    ],
                    "ports": policies.ports(PORT),
                }
            ],
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
            metadata=pods.metadata(
                APP, namespace=NAMESPACE, annotations=None if args.settings.autoscaling else pods.TAKE_OVER
            ),
            spec={
                # With autoscaling: how many to begin with, and to wait for.
                "replicas": args.settings.replicas,
                "selector": {"match_labels": pods.selector(APP)},
                # The old pods stay until the new ones serve.
                "strategy": {"rolling_update": {"max_surge": 1, "max_unavailable": 0}},
                "progress_deadline_seconds": args.patience_s,
                "template": {
                    "metadata": {"labels": pods.selector(APP), "annotations": args.store.annotations()},
                    "spec": _pod(args),
                },
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[network, account],
                # From then on the number is the autoscaler's: what it has set is neither compared nor sent.
                ignore_changes=["spec.replicas"] if args.settings.autoscaling else [],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{args.patience_s}s", update=f"{args.patience_s}s"),
            ),
        )
        if args.settings.autoscaling:
            metrics = _metrics(args.settings.autoscaling, args.cluster)
            _autoscaler(args.settings.replicas, args.settings.autoscaling, metrics, self.deployment, child)
        annotations = {**(published.balanced(args.cluster) or {}), **mesh.shared(args.cluster)}
        self.service = core.v1.Service(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE, annotations=annotations or None),
            # Each host answers for its own pods alone: a check of a host's port is a check of what it would serve.
            # Only from outside the cluster: on a member Cilium takes any pod for a connection to any host's port.
            # Where another site has pods too a host answers for all, since its own can't be theirs.
            spec=published.spec(
                APP,
                {"name": "http", "port": 80, "target_port": PORT, "node_port": INGRESS_NODE_PORT},
                args.cluster,
                any_host=bool(args.cluster.mesh),
            ),
            opts=child,
        )
        core.v1.Service(
            INGRESS_PODS,
            metadata=pods.metadata(APP, name=INGRESS_PODS, namespace=NAMESPACE),
            spec={
                "cluster_ip": "None",
                "selector": pods.selector(APP),
                "ports": [{"name": "http", "port": PORT, "target_port": PORT}],
            },
            opts=child,
        )
        self.register_outputs({})


def _metrics(settings: Autoscaling, cluster: Cluster) -> list[autoscaling.v2.MetricSpecArgsDict]:
    """What the number follows: CPU, which is what an answer costs, requests a second, which no noisy host changes.

    Of both the one that asks for more replicas wins. While one can't be had, the other still adds replicas, but none is
    taken away; without any the number stays as it is. On EKS nobody tells the requests (custom_metrics.py).
    """
    found: list[autoscaling.v2.MetricSpecArgsDict] = []
    if settings.target_cpu is not None:
        found.append({"type": "Resource", "resource": {"name": "cpu", "target": _average(settings.target_cpu)}})
    if settings.target_requests_per_second is not None and not cluster.eks:
        target = _average(quantities.text(settings.target_requests_per_second))
        found.append({"type": "Pods", "pods": {"metric": {"name": REQUESTS_METRIC}, "target": target}})
    return found


def _average(quantity: str) -> autoscaling.v2.MetricTargetArgsDict:
    return {"type": "AverageValue", "average_value": quantity}


def _autoscaler(
    least: int,
    settings: Autoscaling,
    metrics: list[autoscaling.v2.MetricSpecArgsDict],
    deployment: apps.v1.Deployment,
    opts: pulumi.ResourceOptions,
) -> autoscaling.v2.HorizontalPodAutoscaler:
    return autoscaling.v2.HorizontalPodAutoscaler(
        APP,
        metadata=pods.metadata(APP, namespace=NAMESPACE),
        spec={
            "scale_target_ref": {"api_version": "apps/v1", "kind": "Deployment", "name": deployment.metadata["name"]},
            "min_replicas": least,
            "max_replicas": settings.max_replicas,
            "metrics": metrics,
            "behavior": {
                "scale_up": _pace(100, after=0),
                "scale_down": _pace(50, after=settings.shrink_after_seconds),
            },
        },
        opts=opts,
    )


def _pace(percent: int, *, after: int) -> autoscaling.v2.HPAScalingRulesArgsDict:
    return {
        "stabilization_window_seconds": after,
        "policies": [{"type": "Percent", "value": percent, "period_seconds": SCALING_PERIOD_S}],
    }


def _pod(args: InferenceArgs) -> core.v1.PodSpecArgsDict:
    return {
        "service_account_name": APP,
        "priority_class_name": priorities.SERVING,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        # By the least number: where that many have a host each, no fault may bring them together, so that while a host
        # is dead replicas beyond the living hosts wait for it. On whole sites they share hosts, evenly.
        "topology_spread_constraints": pods.apart(APP, replicas=args.settings.replicas, cluster=args.cluster),
        "termination_grace_period_seconds": 30,
        "containers": [_container(args)],
        "volumes": [*args.store.volumes(), pods.scratch("tmp", "64Mi")],
    }


def _container(args: InferenceArgs) -> core.v1.ContainerArgsDict:
    settings = args.settings
    own = {"ISTHMUS_POLL_SECONDS": str(settings.poll_seconds), "HOME": "/tmp"}
    return {
        "name": APP,
        "image": pods.image(args.image),
        "env": model_store.variables(args.store.settings("S3") | model_store.about(settings.model) | own),
        "ports": [{"name": "http", "container_port": PORT}],
        "resources": pods.amounts(settings.resources),
        "security_context": pods.locked(),
        "volume_mounts": [*args.store.mounts(), {"name": "tmp", "mount_path": "/tmp"}],
        # The load balancers ask every other second whether a model is served; the kubelet asks seldom, to save CPU.
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
