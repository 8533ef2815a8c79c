"""What Prometheus reads, how often, and what of it is kept; pure functions.

Each target is found by what Kubernetes says of it, so that hosts and pods come and go without a word here. Addresses
are used, no names: monitoring must see a cluster whose DNS is ill. Of what targets tell only that is kept which a rule
or a question of an operator needs: API servers and kubelets have thousands of series each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from infra.naming import OBJECT_STORE_NAMESPACE, WORKLOADS_NAMESPACE
from infra.platform.monitoring import host_jobs, names, sending
from infra.platform.monitoring.host_jobs import TOKEN_FILE, Hosts, keep

AUTHORITY_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
RULES_PATH: Final = "/etc/prometheus-rules"
"""Not below the configuration's folder: nothing can be mounted inside what is mounted read-only."""


EVERYTHING: Final = ".+"
DROPPED: Final = "go_.*|python_.*|promhttp_.*|.*_created"
"""Of every app, whatever is kept of it: what its libraries tell of themselves."""


@dataclass(frozen=True, kw_only=True)
class App:
    """Pods that are read by the port of that name; `kept` is a pattern of what is kept of them."""

    job: str
    namespace: str
    app: str
    port: str
    kept: str = EVERYTHING
    keeps_labels: bool = False
    """Whether labels of its series win over those of the target: where it tells of others."""


CILIUM: Final = (
    "cilium_(clustermesh_remote_cluster(s|_(readiness_status|failures|nodes|endpoints))"
    "|(drop|forward)_(count|bytes)_total|controllers_failing|errors_warnings_total"
    "|endpoint_(state|regenerations_total)|identity|policy|policy_(change_total|endpoint_enforcement_status)"
    "|bpf_map_pressure|datapath_conntrack_gc_entries)"
    "|cilium_process_(cpu_seconds_total|resident_memory_bytes)"
)
HUBBLE: Final = "hubble_(drop_total|flows_processed_total|lost_events_total)"
"""Of the flows that agents see: how many, between which namespaces, and what was dropped of them and why."""

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
    App(job="backup", namespace=WORKLOADS_NAMESPACE, app="backup", port="http"),
    App(job="cilium", namespace="kube-system", app=names.CILIUM, port="prometheus", kept=CILIUM),
    App(job="flows", namespace="kube-system", app=names.CILIUM, port="hubble-metrics", kept=HUBBLE),
)

API_SERVER: Final = (
    "(apiserver_(request_total|current_inflight_requests|storage_size_bytes"
    "|client_certificate_expiration_seconds_bucket)"
    "|process_(cpu_seconds_total|resident_memory_bytes));.*"
    "|etcd_request_duration_seconds_(bucket;(create|update|delete);0[.]4|count;(create|update|delete);)"
)
"""By name, operation and bound: of their waits for etcd the number of writes, and of those that are quick. All bounds,
of reads too and for each kind of objects, are thousands."""
REPLICA: Final = "prometheus_replica"
"""In the view, which of a site's Prometheus has read a sample; each puts its pod's name for the variable."""


def config(
    *,
    cluster: str,
    every_s: int,
    retention: str,
    hosts: Hosts,
    view_url: str | None = None,
    reads_view: bool = False,
) -> dict[str, Any]:
    """The whole of prometheus.yml. `cluster` tells alerts, and in the view samples, of several sites apart.

    `view_url`: where the view over both sites takes samples; None where there is none. `reads_view`: if it is here.
    """
    found = _of_site(cluster=cluster, every_s=every_s, retention=retention, hosts=hosts)
    if view_url:
        found["global"]["external_labels"][REPLICA] = "${POD_NAME}"
        # The alerts of replicas stay the same.
        found["alerting"]["alert_relabel_configs"] = [{"regex": REPLICA, "action": "labeldrop"}]
        found["remote_write"] = [sending.remote_write(view_url)]
    if reads_view:
        found["scrape_configs"].append(_view())
    return found


def _of_site(*, cluster: str, every_s: int, retention: str, hosts: Hosts) -> dict[str, Any]:
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
            *host_jobs.jobs(hosts),
            _api_servers(),
        ],
    }


# The same words in every job, so that Prometheus watches pods once.
_PODS: Final = [{"role": "pod"}]


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
        "metric_relabel_configs": [
            *([keep(app.kept)] if app.kept != EVERYTHING else []),
            {"source_labels": ["__name__"], "regex": DROPPED, "action": "drop"},
        ],
    }


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
        "metric_relabel_configs": [keep(API_SERVER, "operation", "le")],
    }


def _view() -> dict[str, Any]:
    """The view of both sites, which lets in who sends to it."""
    return {
        **_app(App(job="view", namespace=names.NAMESPACE, app=names.VIEW, port="https")),
        "scheme": "https",
        "tls_config": sending.tls(),
    }
