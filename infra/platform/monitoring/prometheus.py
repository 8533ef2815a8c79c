"""Prometheus: reads every target, keeps what it read on a volume of its own, and evaluates the rules.

Replicas each read everything and know nothing of each other; their alerts are the same, and Alertmanager takes them for
one. A replica whose host is lost waits for it, as every pod of a StatefulSet does that nobody has given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

import pulumi
import yaml
from pulumi_kubernetes import apps, core, policy

from infra.artifacts import Index
from infra.environment import Monitoring as Settings
from infra.naming import INGRESS_POD_PORT, OBJECT_STORE_NAMESPACE, WORKLOADS_NAMESPACE
from infra.platform import accounts, coredns, pods, policies
from infra.platform.cluster import Cluster
from infra.platform.monitoring import access, bounds, host_jobs, linked, scraping, server
from infra.platform.monitoring.names import (
    ALERTMANAGER,
    ALERTMANAGER_PORT,
    KUBE_STATE_METRICS,
    KUBE_STATE_METRICS_PORT,
    NAMESPACE,
    PROMETHEUS,
    PROMETHEUS_PORT,
)
from infra.platform.monitoring.sending import Sender
from infra.platform.object_store_settings import ADMIN_PORT
from infra.platform.object_store_settings import APP as OBJECT_STORE

APP: Final = PROMETHEUS

RULES: Final = Path(__file__).parent / "rules"


@dataclass(frozen=True, kw_only=True)
class PrometheusArgs:
    """`persistent`: whether the site has volumes; where it has none, what was read goes with its pod.

    `model_age_days`: how old a model may be that is served; any age without it. `sender`: how it sends to the view over
    both sites, where there is one; `reads_view`: whether that is here, and read like all else. `askers` may ask it.
    """

    cluster: Cluster
    settings: Settings
    persistent: bool
    index: Index
    model_age_days: int | None = None
    sender: Sender | None = None
    reads_view: bool = False
    askers: tuple[policies.Peer, ...] = ()


class Prometheus(pulumi.ComponentResource):
    """Its replicas, each on a host of its own."""

    def __init__(self, name: str, args: PrometheusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Prometheus", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        config = scraping.config(
            cluster=args.cluster.name,
            every_s=args.settings.scrape_seconds,
            retention=server.retention(args.settings.capacity),
            hosts=host_jobs.of(args.cluster),
            view_url=args.sender.url if args.sender else None,
            reads_view=args.reads_view,
        )
        settings = server.files(APP, "config", {"prometheus.yml": yaml.safe_dump(config, sort_keys=False)}, child)
        written = {path.name: path.read_text() for path in sorted(RULES.glob("*.yaml"))}
        written |= bounds.files(model_age_days=args.model_age_days)
        if args.sender:
            written |= linked.of_senders()
        if args.cluster.mesh:
            written |= linked.of_mesh()
        rules = server.files(APP, "rules", written, child)
        needed = [*_access(child), _network(args, child)]
        if args.sender:
            needed.append(args.sender.secret(child))
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
                    "spec": _pod(args, settings.metadata["name"], rules.metadata["name"]),
                },
                "volume_claim_templates": server.claims(args.settings, persistent=args.persistent),
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=needed),
        )
        self.register_outputs({})


def _access(opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """It finds hosts, pods and API servers, and reads the metrics of kubelets and API servers."""
    rules: list[accounts.Rule] = [
        access.watching("", "nodes", "pods"),
        {"api_groups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"non_resource_urls": ["/metrics"], "verbs": ["get"]},
    ]
    found = [access.watching("", "services"), access.watching("discovery.k8s.io", "endpointslices")]
    return [*access.reader(APP, rules, opts), access.reader_of_default(APP, found, opts)]


def _network(args: PrometheusArgs, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Each target at the port where it tells of itself, and the view; asked by its like, and by who may."""
    cluster = args.cluster
    hosts = policies.network(cluster.node_cidr)
    itself: policies.Ingress = {
        "from_": [policies.app(APP), *args.askers],
        "ports": policies.ports(PROMETHEUS_PORT),
    }
    dns: policies.Peer = policies.app(coredns.APP, within=coredns.NAMESPACE)
    store = policies.app(OBJECT_STORE, within=OBJECT_STORE_NAMESPACE)
    workloads = [policies.app(app, within=WORKLOADS_NAMESPACE) for app in ("inference", "replication", "backup")]
    of_hosts = host_jobs.of(cluster)
    egress: list[policies.Egress] = [
        {"to": [hosts], "ports": policies.ports(cluster.api_server_port, *of_hosts.ports)},
        *_registry(of_hosts.registry),
        {"to": [dns], "ports": policies.ports(coredns.METRICS_PORT)},
        {"to": [store], "ports": policies.ports(ADMIN_PORT)},
        {"to": workloads, "ports": policies.ports(INGRESS_POD_PORT)},
        {"to": [policies.app(KUBE_STATE_METRICS)], "ports": policies.ports(KUBE_STATE_METRICS_PORT)},
        {"to": [policies.app(ALERTMANAGER)], "ports": policies.ports(ALERTMANAGER_PORT)},
        {"to": [policies.app(APP)], "ports": policies.ports(PROMETHEUS_PORT)},
        *([args.sender.egress] if args.sender else []),
    ]
    return policies.allow(APP, NAMESPACE, ingress=[itself], egress=egress, opts=opts)


def _registry(target: str | None) -> list[policies.Egress]:
    if not target:
        return []
    address, _, port = target.rpartition(":")
    return [{"to": [policies.network(IPv4Network(address))], "ports": policies.ports(int(port))}]


def _pod(args: PrometheusArgs, config: pulumi.Input[str], rules: pulumi.Input[str]) -> core.v1.PodSpecArgsDict:
    sender = args.sender
    container = server.container(args.index, args.settings, more=[sender.mount()] if sender else [])
    if sender:
        # Read by the configuration, see scraping.REPLICA.
        container["env"] = [{"name": "POD_NAME", "value_from": {"field_ref": {"field_path": "metadata.name"}}}]
    # After a loss of power it first reads what it had not yet put in order, which takes its time.
    container["startup_probe"] = pods.probe("/-/ready", "http", period=5, failures=120)
    container["readiness_probe"] = pods.probe("/-/ready", "http", period=10, failures=3)
    container["liveness_probe"] = pods.probe("/-/healthy", "http", period=30, failures=4)
    return server.pod(
        APP,
        container,
        args.settings,
        config=config,
        rules=rules,
        persistent=args.persistent,
        spread=pods.apart(APP, replicas=args.settings.replicas, cluster=args.cluster),
        more=[sender.volume()] if sender else [],
    )
