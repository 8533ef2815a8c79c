"""Prometheus: reads every target, keeps what it read on a volume of its own, and evaluates the rules.

Replicas each read everything and know nothing of each other; their alerts are the same, and Alertmanager takes them for
one. A replica whose host is lost waits for it, as every pod of a StatefulSet does that nobody has given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pulumi
import yaml
from pulumi_kubernetes import apps, core, policy

from infra import quantities
from infra.artifacts import Index
from infra.environment import Monitoring as Settings
from infra.naming import (
    INGRESS_POD_PORT,
    LOAD_BALANCER_METRICS_PORT,
    OBJECT_STORE_NAMESPACE,
    STORAGE_CLASS,
    WORKLOADS_NAMESPACE,
)
from infra.platform import accounts, pods, policies, priorities
from infra.platform.cluster import Cluster
from infra.platform.monitoring import access, bounds, scraping
from infra.platform.monitoring.names import (
    ALERTMANAGER,
    ALERTMANAGER_PORT,
    COREDNS_PORT,
    KUBE_STATE_METRICS,
    KUBE_STATE_METRICS_PORT,
    KUBELET_PORT,
    NAMESPACE,
    NODE_EXPORTER_PORT,
    PROMETHEUS,
    PROMETHEUS_PORT,
)
from infra.platform.object_store_settings import ADMIN_PORT
from infra.platform.object_store_settings import APP as OBJECT_STORE

APP: Final = PROMETHEUS
CONFIG_PATH: Final = "/etc/prometheus"
DATA_PATH: Final = "/prometheus"

RULES: Final = Path(__file__).parent / "rules"


@dataclass(frozen=True, kw_only=True)
class PrometheusArgs:
    """`persistent`: whether the site has volumes; where it has none, what was read goes with its pod.

    `model_age_days`: how old a model may be that is served; any age without it.
    """

    cluster: Cluster
    settings: Settings
    persistent: bool
    index: Index
    model_age_days: int | None = None


class Prometheus(pulumi.ComponentResource):
    """Its replicas, each on a host of its own."""

    def __init__(self, name: str, args: PrometheusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Prometheus", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        config = scraping.config(
            cluster=args.cluster.name,
            every_s=args.settings.scrape_seconds,
            retention=retention(args.settings.capacity),
            load_balancers=args.cluster.load_balancers,
        )
        settings = _files("config", {"prometheus.yml": yaml.safe_dump(config, sort_keys=False)}, child)
        written = {path.name: path.read_text() for path in sorted(RULES.glob("*.yaml"))}
        rules = _files("rules", written | bounds.files(model_age_days=args.model_age_days), child)
        needed = [*_access(child), _network(args.cluster, child)]
        core.v1.Service(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "cluster_ip": "None",
                "selector": pods.selector(APP),
                "ports": [{"name": "http", "port": PROMETHEUS_PORT}],
            },
            opts=child,
        )
        if args.settings.replicas > 1:
            policy.v1.PodDisruptionBudget(
                APP,
                metadata=pods.metadata(APP, namespace=NAMESPACE),
                spec={"max_unavailable": 1, "selector": {"match_labels": pods.selector(APP)}},
                opts=child,
            )
        apps.v1.StatefulSet(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "service_name": APP,
                "replicas": args.settings.replicas,
                "selector": {"match_labels": pods.selector(APP)},
                "template": {
                    "metadata": {"labels": pods.selector(APP)},
                    "spec": _pod(args, {"config": settings.metadata["name"], "rules": rules.metadata["name"]}),
                },
                "volume_claim_templates": [_claim(args.settings)] if args.persistent else [],
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=needed),
        )
        self.register_outputs({})


def retention(capacity: str) -> str:
    """How much it keeps of its volume: the last fifth is for what it is about to rewrite."""
    return f"{int(quantities.parse(capacity) * 4 / 5)}B"


def _files(what: str, files: dict[str, str], opts: pulumi.ResourceOptions) -> core.v1.ConfigMap:
    """Under a name that changes with the content, so that a change starts the pods anew."""
    name = f"{APP}-{what}"
    metadata = pods.metadata(APP, name=pods.content_name(name, files), namespace=NAMESPACE)
    return core.v1.ConfigMap(name, metadata=metadata, data=files, opts=opts)


def _access(opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """It finds hosts, pods and API servers, and reads the metrics of kubelets and API servers."""
    rules: list[accounts.Rule] = [
        access.watching("", "nodes", "pods"),
        {"api_groups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"non_resource_urls": ["/metrics"], "verbs": ["get"]},
    ]
    found = [access.watching("", "services"), access.watching("discovery.k8s.io", "endpointslices")]
    return [*access.reader(APP, rules, opts), access.reader_of_default(APP, found, opts)]


def _network(cluster: Cluster, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Each target at the port where it tells of itself; asked by nobody but its like."""
    hosts = policies.network(cluster.node_cidr)
    itself: policies.Ingress = {"from_": [policies.app(APP)], "ports": policies.ports(PROMETHEUS_PORT)}
    dns: policies.Peer = {**policies.namespace("kube-system"), **policies.app("coredns")}
    store = policies.app(OBJECT_STORE, within=OBJECT_STORE_NAMESPACE)
    workloads = [policies.app(app, within=WORKLOADS_NAMESPACE) for app in ("inference", "replication")]
    of_hosts = [cluster.api_server_port, KUBELET_PORT, NODE_EXPORTER_PORT]
    if cluster.load_balancers:
        of_hosts.append(LOAD_BALANCER_METRICS_PORT)
    egress: list[policies.Egress] = [
        {"to": [hosts], "ports": policies.ports(*of_hosts)},
        {"to": [dns], "ports": policies.ports(COREDNS_PORT)},
        {"to": [store], "ports": policies.ports(ADMIN_PORT)},
        {"to": workloads, "ports": policies.ports(INGRESS_POD_PORT)},
        {"to": [policies.app(KUBE_STATE_METRICS)], "ports": policies.ports(KUBE_STATE_METRICS_PORT)},
        {"to": [policies.app(ALERTMANAGER)], "ports": policies.ports(ALERTMANAGER_PORT)},
        {"to": [policies.app(APP)], "ports": policies.ports(PROMETHEUS_PORT)},
    ]
    return policies.allow(APP, NAMESPACE, ingress=[itself], egress=egress, opts=opts)


def _claim(settings: Settings) -> core.v1.PersistentVolumeClaimArgsDict:
    return {
        "metadata": {"name": "data"},
        "spec": {
            "storage_class_name": STORAGE_CLASS,
            "access_modes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": settings.capacity}},
        },
    }


def _pod(args: PrometheusArgs, files: dict[str, pulumi.Input[str]]) -> core.v1.PodSpecArgsDict:
    volumes: list[core.v1.VolumeArgsDict] = [
        {"name": volume, "config_map": {"name": name}} for volume, name in files.items()
    ]
    if not args.persistent:
        volumes.append(pods.scratch("data", args.settings.capacity))
    spread = pods.apart(APP, replicas=args.settings.replicas, cluster=args.cluster)
    return {
        "service_account_name": APP,
        "priority_class_name": priorities.MONITORING,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "topology_spread_constraints": spread,
        # It writes down what it has in memory.
        "termination_grace_period_seconds": 60,
        "containers": [_container(args)],
        "volumes": volumes,
    }


def _container(args: PrometheusArgs) -> core.v1.ContainerArgsDict:
    mounts: Any = [
        {"name": "config", "mount_path": CONFIG_PATH, "read_only": True},
        {"name": "rules", "mount_path": scraping.RULES_PATH, "read_only": True},
        {"name": "data", "mount_path": DATA_PATH},
    ]
    return {
        "name": APP,
        "image": pods.image(args.index.artifact(APP)),
        "args": [
            f"--config.file={CONFIG_PATH}/prometheus.yml",
            f"--storage.tsdb.path={DATA_PATH}",
            f"--web.listen-address=:{PROMETHEUS_PORT}",
        ],
        "ports": [{"name": "http", "container_port": PROMETHEUS_PORT}],
        "resources": pods.amounts(args.settings.resources),
        "security_context": pods.locked(),
        "volume_mounts": mounts,
        # After a loss of power it first reads what it had not yet put in order, which takes its time.
        "startup_probe": pods.probe("/-/ready", "http", period=5, failures=120),
        "readiness_probe": pods.probe("/-/ready", "http", period=10, failures=3),
        "liveness_probe": pods.probe("/-/healthy", "http", period=30, failures=4),
        "termination_message_policy": "FallbackToLogsOnError",
    }
