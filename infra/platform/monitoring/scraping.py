"""What Prometheus reads, how often, and what of it is kept; pure functions.

Each target is found by what Kubernetes says of it, so that hosts and pods come and go without a word here. Addresses
are used, no names: monitoring must see a cluster whose DNS is ill. Of what targets tell only that is kept which a rule
or a question of an operator needs: API servers and kubelets have thousands of series each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

from infra.naming import LOAD_BALANCER_METRICS_PORT, OBJECT_STORE_NAMESPACE, WORKLOADS_NAMESPACE
from infra.platform.monitoring import names, sending

TOKEN_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"
AUTHORITY_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
RULES_PATH: Final = "/etc/prometheus-rules"
"""Not below the configuration's folder: nothing can be mounted inside what is mounted read-only."""


@dataclass(frozen=True, kw_only=True)
class App:
    """Pods that are read by the port of that name; `dropped` is a pattern of what is not kept of them."""

    job: str
    namespace: str
    app: str
    port: str
    dropped: str = "go_.*|python_.*|promhttp_.*|.*_created"
    keeps_labels: bool = False
    """Whether labels of its series win over those of the target: where it tells of others."""


APPS: Final = (
    App(job="prometheus", namespace=names.NAMESPACE, app=names.PROMETHEUS, port="http"),
    App(job="alertmanager", namespace=names.NAMESPACE, app=names.ALERTMANAGER, port="http"),
    App(
        job="kube-state-metrics",
        namespace=names.NAMESPACE,
        app=names.KUBE_STATE_METRICS,
        port="http",
        keeps_labels=True,
    ),
    App(job="coredns", namespace="kube-system", app="coredns", port="metrics"),
    App(job="object-store", namespace=OBJECT_STORE_NAMESPACE, app="garage", port="admin"),
    App(job="inference", namespace=WORKLOADS_NAMESPACE, app="inference", port="http"),
    App(job="replication", namespace=WORKLOADS_NAMESPACE, app="replication", port="http"),
)

KUBELET: Final = (
    "kubelet_(volume_stats_(available|capacity)_bytes|running_pods|certificate_manager_client_.*)"
    "|process_(cpu_seconds_total|resident_memory_bytes)"
)
CADVISOR: Final = (
    "container_network_(receive|transmit)_bytes_total;(POD)?;.+"
    "|container_(cpu_usage_seconds_total|cpu_cfs_(throttled_)?periods_total|memory_working_set_bytes|oom_events_total)"
    ";[^;]+;.+"
)
"""By name, container and pod: what a pod uses is the sum of its containers; its network is the pod's own. What is of no
pod is the host's, which tells it better itself."""
API_SERVER: Final = (
    "(apiserver_(request_total|current_inflight_requests|storage_size_bytes"
    "|client_certificate_expiration_seconds_bucket)"
    "|process_(cpu_seconds_total|resident_memory_bytes));.*"
    "|etcd_request_duration_seconds_(bucket;(create|update|delete);0[.]4|count;(create|update|delete);)"
)
"""By name, operation and bound: of their waits for etcd the number of writes, and of those that are quick. All bounds,
of reads too and for each kind of objects, are thousands."""
LOAD_BALANCER: Final = (
    "haproxy_(backend_(active_servers|http_responses_total|connection_errors_total|retry_warnings_total)"
    "|frontend_(current_sessions|http_responses_total))"
)
ADDRESSES_EVERY_S: Final = 10
"""How often load balancers are read: that an address has lost a holder must be known within half a minute."""
ALIVE_EVERY_S: Final = 5
"""How often kubelets are asked whether they answer at all: three times without an answer, and the host is down."""
IMPATIENCE: Final = "4s"
"""How long what is read so often may take: whoever is lost says nothing, and is given up before the next question."""


REPLICA: Final = "prometheus_replica"
"""In the view, which of a site's Prometheus has read a sample; each puts its pod's name for the variable."""


def config(
    *,
    cluster: str,
    every_s: int,
    retention: str,
    load_balancers: Mapping[str, IPv4Address],
    view_url: str | None = None,
    reads_view: bool = False,
) -> dict[str, Any]:
    """The whole of prometheus.yml. `cluster` tells alerts, and in the view samples, of several sites apart.

    `view_url`: where the view over both sites takes samples; None where there is none. `reads_view`: if it is here.
    """
    found = _of_site(cluster=cluster, every_s=every_s, retention=retention, load_balancers=load_balancers)
    if view_url:
        found["global"]["external_labels"][REPLICA] = "${POD_NAME}"
        # The alerts of replicas stay the same.
        found["alerting"]["alert_relabel_configs"] = [{"regex": REPLICA, "action": "labeldrop"}]
        found["remote_write"] = [sending.remote_write(view_url)]
    if reads_view:
        found["scrape_configs"].append(_view())
    return found


def _of_site(
    *, cluster: str, every_s: int, retention: str, load_balancers: Mapping[str, IPv4Address]
) -> dict[str, Any]:
    return {
        "global": {
            "scrape_interval": f"{every_s}s",
            "scrape_timeout": "10s",
            "evaluation_interval": f"{every_s}s",
            "external_labels": {"cluster": cluster},
        },
        "storage": {"tsdb": {"retention": {"size": retention}}},
        "rule_files": [f"{RULES_PATH}/*.yaml"],
        "alerting": {"alertmanagers": [alertmanagers()]},
        "scrape_configs": [
            *(_app(app) for app in APPS),
            *_hosts(),
            _api_servers(),
            *([_load_balancers(load_balancers)] if load_balancers else []),
        ],
    }


# The same words in every job, so that Prometheus watches pods once.
_PODS: Final = [{"role": "pod"}]
_NODES: Final = [{"role": "node"}]
_NODE_LABEL: Final = {"source_labels": ["__meta_kubernetes_node_name"], "target_label": "node"}
_NODE_INSTANCE: Final = {"source_labels": ["__meta_kubernetes_node_name"], "target_label": "instance"}


def alertmanagers(*, within: str | None = None) -> dict[str, Any]:
    """Those of the site, found by who may see the pods of all namespaces, or of the one that is named."""
    found = [{"role": "pod", "namespaces": {"names": [within]}}] if within else _PODS
    return {
        "kubernetes_sd_configs": found,
        "relabel_configs": _selected(names.NAMESPACE, names.ALERTMANAGER, "http"),
    }


def _selected(namespace: str, app: str, port: str) -> list[dict[str, Any]]:
    """Keeps the pods of an app that run, at one of their ports."""
    found = (
        "__meta_kubernetes_namespace",
        "__meta_kubernetes_pod_label_app_kubernetes_io_name",
        "__meta_kubernetes_pod_container_port_name",
        "__meta_kubernetes_pod_phase",
    )
    wanted = f"{namespace};{app};{port};Running"
    return [{"source_labels": list(found), "regex": wanted, "action": "keep"}]


def _app(app: App) -> dict[str, Any]:
    labels = [{"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "instance"}]
    if not app.keeps_labels:
        labels.append({"source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "node"})
    return {
        "job_name": app.job,
        "honor_labels": app.keeps_labels,
        "kubernetes_sd_configs": _PODS,
        "relabel_configs": [*_selected(app.namespace, app.app, app.port), *labels],
        "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": app.dropped, "action": "drop"}],
    }


def _hosts() -> list[dict[str, Any]]:
    """Of each host its kubelet, what that knows of its containers, the host itself, and whether it is there."""
    # kubeadm's kubelets sign their serving certificates themselves, see README.md, Limits.
    kubelet = {"scheme": "https", "authorization": {"credentials_file": TOKEN_FILE}}
    kubelet |= {"tls_config": {"insecure_skip_verify": True}}
    host = {"kubernetes_sd_configs": _NODES, "relabel_configs": [_NODE_LABEL, _NODE_INSTANCE]}
    at_port = {
        "source_labels": ["__meta_kubernetes_node_address_InternalIP"],
        "replacement": f"$1:{names.NODE_EXPORTER_PORT}",
        "target_label": "__address__",
    }
    return [
        {"job_name": "kubelet", **kubelet, **host, "metric_relabel_configs": [_keep(KUBELET)]},
        {
            "job_name": "cadvisor",
            "metrics_path": "/metrics/cadvisor",
            # When the kubelet looked at a container is of no use here, and a sample in the past goes stale late.
            "honor_timestamps": False,
            **kubelet,
            **host,
            "metric_relabel_configs": [_keep(CADVISOR, "container", "pod")],
        },
        {**host, "job_name": "node", "relabel_configs": [_NODE_LABEL, _NODE_INSTANCE, at_port]},
        {
            "job_name": "alive",
            "scrape_interval": f"{ALIVE_EVERY_S}s",
            "scrape_timeout": IMPATIENCE,
            # The shortest of what a kubelet tells, and nothing of it is kept: that it answers is what is asked.
            "metrics_path": "/metrics/slis",
            **kubelet,
            **host,
            "metric_relabel_configs": [{"regex": ".*", "action": "drop"}],
        },
    ]


def _api_servers() -> dict[str, Any]:
    """By the endpoints of their own Service: one that is lost leaves them within seconds."""
    found = ("__meta_kubernetes_service_name", "__meta_kubernetes_endpointslice_port_name")
    return {
        "job_name": "api-server",
        "scheme": "https",
        "authorization": {"credentials_file": TOKEN_FILE},
        # Asked at its address, where not every certificate names it, and held to the name that all of them have.
        "tls_config": {"ca_file": AUTHORITY_FILE, "server_name": "kubernetes.default.svc"},
        "kubernetes_sd_configs": [{"role": "endpointslice", "namespaces": {"names": ["default"]}}],
        "relabel_configs": [{"source_labels": list(found), "regex": "kubernetes;https", "action": "keep"}],
        "metric_relabel_configs": [_keep(API_SERVER, "operation", "le")],
    }


def _load_balancers(addresses: Mapping[str, IPv4Address]) -> dict[str, Any]:
    """Known from the environment: one that is gone, or is no member of the cluster, is missed all the same."""
    return {
        "job_name": "load-balancer",
        "scrape_interval": f"{ADDRESSES_EVERY_S}s",
        "scrape_timeout": IMPATIENCE,
        # Not each of its servers, of which there is a place for many more than run.
        "params": {"scope": ["frontend", "backend"]},
        "static_configs": [
            {"targets": [f"{address}:{LOAD_BALANCER_METRICS_PORT}"], "labels": {"node": name, "instance": name}}
            for name, address in addresses.items()
        ],
        "metric_relabel_configs": [_keep(LOAD_BALANCER)],
    }


def _view() -> dict[str, Any]:
    """The view of both sites, which lets in who sends to it."""
    return {
        **_app(App(job="view", namespace=names.NAMESPACE, app=names.VIEW, port="https")),
        "scheme": "https",
        "tls_config": sending.tls(),
    }


def _keep(pattern: str, *labels: str) -> dict[str, Any]:
    return {"source_labels": ["__name__", *labels], "regex": pattern, "action": "keep"}
