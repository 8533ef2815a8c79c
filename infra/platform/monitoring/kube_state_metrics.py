"""kube-state-metrics: what the API knows of hosts, workloads and Jobs, as metrics.

One replica: it keeps nothing, and starts elsewhere soon after its host is lost.
"""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_kubernetes import apps, core

from infra.artifacts import Index
from infra.platform import pods, policies, priorities
from infra.platform.cluster import Cluster
from infra.platform.monitoring import access
from infra.platform.monitoring.names import (
    KUBE_STATE_METRICS,
    KUBE_STATE_METRICS_OWN_PORT,
    KUBE_STATE_METRICS_PORT,
    NAMESPACE,
    PROMETHEUS,
)

APP: Final = KUBE_STATE_METRICS

METRICS: Final = {
    "nodes": ("kube_node_info", "kube_node_status_(condition|capacity|allocatable)", "kube_node_spec_unschedulable"),
    "pods": ("kube_pod_status_(ready|phase)", "kube_pod_container_status_restarts_total"),
    "deployments": ("kube_deployment_spec_replicas", "kube_deployment_status_replicas_available"),
    "statefulsets": ("kube_statefulset_replicas", "kube_statefulset_status_replicas_ready"),
    "daemonsets": ("kube_daemonset_status_(desired_number_scheduled|number_unavailable)",),
    "jobs": ("kube_job_(failed|complete)", "kube_job_status_start_time"),
    "horizontalpodautoscalers": ("kube_horizontalpodautoscaler_status_(current|desired)_replicas",),
}
"""What is watched, and what is told of it: its metrics of labels and of every phase of everything are thousands."""

_GROUPS: Final = {
    "": ("nodes", "pods"),
    "apps": ("deployments", "statefulsets", "daemonsets"),
    "batch": ("jobs",),
    "autoscaling": ("horizontalpodautoscalers",),
}


class KubeStateMetrics(pulumi.ComponentResource):
    """Its Deployment, what it may read, and who may read it."""

    def __init__(self, name: str, *, cluster: Cluster, index: Index, opts: pulumi.ResourceOptions) -> None:
        super().__init__("isthmus:platform:KubeStateMetrics", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        rules = [access.watching(group, *resources) for group, resources in _GROUPS.items()]
        may = access.reader(APP, rules, child)
        network = policies.allow(
            APP,
            NAMESPACE,
            ingress=[{"from_": [policies.app(PROMETHEUS)], "ports": policies.ports(KUBE_STATE_METRICS_PORT)}],
            egress=[policies.to_api(cluster)],
            opts=child,
        )
        apps.v1.Deployment(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "replicas": 1,
                # Two at once would tell everything twice.
                "strategy": {"type": "Recreate"},
                "selector": {"match_labels": pods.selector(APP)},
                "template": {"metadata": {"labels": pods.selector(APP)}, "spec": _pod(index)},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*may, network]),
        )
        self.register_outputs({})


def _pod(index: Index) -> core.v1.PodSpecArgsDict:
    return {
        "service_account_name": APP,
        "priority_class_name": priorities.MONITORING,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "tolerations": pods.leaving_soon(),
        "containers": [_container(index)],
    }


def _container(index: Index) -> core.v1.ContainerArgsDict:
    allowed = ",".join(f"^{pattern}$" for patterns in METRICS.values() for pattern in patterns)
    return {
        "name": APP,
        "image": pods.image(index.artifact(APP)),
        "args": [
            f"--port={KUBE_STATE_METRICS_PORT}",
            f"--telemetry-port={KUBE_STATE_METRICS_OWN_PORT}",
            f"--resources={','.join(METRICS)}",
            f"--metric-allowlist={allowed}",
        ],
        "ports": [
            {"name": "http", "container_port": KUBE_STATE_METRICS_PORT},
            {"name": "own", "container_port": KUBE_STATE_METRICS_OWN_PORT},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"cpu": "200m", "memory": "160Mi"}},
        "security_context": pods.locked(),
        "startup_probe": pods.probe("/readyz", "own", period=2, failures=30),
        "readiness_probe": pods.probe("/readyz", "own", period=10, failures=3),
        # Not /livez, which asks the API: a start anew mends nothing there.
        "liveness_probe": pods.probe("/healthz", "http", period=30, failures=3),
        "termination_message_policy": "FallbackToLogsOnError",
    }
