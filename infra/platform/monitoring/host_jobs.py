"""What Prometheus reads of hosts and of what runs on them outside of pods' network; pure functions.

A host is found by its node, so that what it runs is missed when it is down. What is no member of the cluster, or may
not be, is known from the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any, Final

from infra import naming
from infra.platform.cluster import Cluster
from infra.platform.monitoring import names

TOKEN_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"

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
ETCD: Final = (
    "etcd_(server_(has_leader|leader_changes_seen_total|proposals_(pending|failed_total)|quota_backend_bytes)"
    "|mvcc_db_total_size_in(_use_in)?_bytes"
    "|(disk_(wal_fsync|backend_commit)_duration|network_peer_round_trip_time)_seconds_(bucket|count|sum))"
    "|process_(cpu_seconds_total|resident_memory_bytes)"
)
CONTAINERD: Final = (
    "containerd_cri_(sandboxed_(image_pulls_total|in_progress_image_pulls_total|image_pulling_throughput_(count|sum))"
    "|(container_(create|start)|sandbox_(runtime_create|(create|delete)_network))_seconds_(count|sum))"
    "|process_(cpu_seconds_total|resident_memory_bytes|open_fds)"
)
REGISTRY: Final = (
    "registry_(http_(requests_total|in_flight_requests|request_duration_seconds_(count|sum))"
    "|storage_(action_seconds_(count|sum)|cache_(requests|hits|errors)_total))"
    "|process_(cpu_seconds_total|resident_memory_bytes)"
)
GPU: Final = "DCGM_FI_DEV_(GPU_(TEMP|UTIL)|FB_(FREE|USED)|POWER_USAGE|XID_ERRORS|ECC_.*)"
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

_NODES: Final = [{"role": "node"}]
_NODE_LABEL: Final = {"source_labels": ["__meta_kubernetes_node_name"], "target_label": "node"}
_NODE_INSTANCE: Final = {"source_labels": ["__meta_kubernetes_node_name"], "target_label": "instance"}
_CONTROL_PLANE: Final = "__meta_kubernetes_node_labelpresent_node_role_kubernetes_io_control_plane"


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """What the environment says of a site's hosts."""

    load_balancers: Mapping[str, IPv4Address] = field(default_factory=dict)
    gpu_hosts: Mapping[str, IPv4Address] = field(default_factory=dict)
    registry: str | None = None
    """HOST:PORT where the site's registry tells of itself; None where it does not."""
    ours: bool = True
    """Whether Ansible has made them: then etcd and containerd tell of themselves. At Amazon they do not."""

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports of hosts at which Prometheus asks, beside the API servers'."""
        return (
            names.KUBELET_PORT,
            names.NODE_EXPORTER_PORT,
            naming.CILIUM_METRICS_PORT,
            naming.HUBBLE_METRICS_PORT,
            *((naming.ETCD_METRICS_PORT, naming.CONTAINERD_METRICS_PORT) if self.ours else ()),
            *((naming.LOAD_BALANCER_METRICS_PORT,) if self.load_balancers else ()),
            *((naming.GPU_METRICS_PORT,) if self.gpu_hosts else ()),
        )


def of(cluster: Cluster) -> Hosts:
    """Those of a cluster."""
    return Hosts(
        load_balancers=cluster.load_balancers,
        gpu_hosts=cluster.gpu_hosts,
        registry=cluster.registry_metrics,
        ours=not cluster.eks,
    )


def jobs(hosts: Hosts) -> list[dict[str, Any]]:
    """Their part of scrape_configs."""
    return [
        *_members(),
        *([_etcd(), _containerd()] if hosts.ours else []),
        *([_load_balancers(hosts.load_balancers)] if hosts.load_balancers else []),
        *([_static("gpu", hosts.gpu_hosts, naming.GPU_METRICS_PORT, GPU)] if hosts.gpu_hosts else []),
        *([_registry(hosts.registry)] if hosts.registry else []),
    ]


def keep(pattern: str, *labels: str) -> dict[str, Any]:
    """Keeps samples whose name, and values of these labels, match."""
    return {"source_labels": ["__name__", *labels], "regex": pattern, "action": "keep"}


def _members() -> list[dict[str, Any]]:
    """Of each host its kubelet, what that knows of its containers, the host itself, and whether it is there."""
    # kubeadm's kubelets sign their serving certificates themselves, see docs/limits.md.
    kubelet = {"scheme": "https", "authorization": {"credentials_file": TOKEN_FILE}}
    kubelet |= {"tls_config": {"insecure_skip_verify": True}}
    host = {"kubernetes_sd_configs": _NODES, "relabel_configs": [_NODE_LABEL, _NODE_INSTANCE]}
    return [
        {"job_name": "kubelet", **kubelet, **host, "metric_relabel_configs": [keep(KUBELET)]},
        {
            "job_name": "cadvisor",
            "metrics_path": "/metrics/cadvisor",
            # When the kubelet looked at a container is of no use here, and a sample in the past goes stale late.
            "honor_timestamps": False,
            **kubelet,
            **host,
            "metric_relabel_configs": [keep(CADVISOR, "container", "pod")],
        },
        _at_port("node", names.NODE_EXPORTER_PORT),
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


def _at_port(job: str, port: int, kept: str | None = None) -> dict[str, Any]:
    """Each node at a port of its own address."""
    at_port = {
        "source_labels": ["__meta_kubernetes_node_address_InternalIP"],
        "replacement": f"$1:{port}",
        "target_label": "__address__",
    }
    found: dict[str, Any] = {
        "job_name": job,
        "kubernetes_sd_configs": _NODES,
        "relabel_configs": [_NODE_LABEL, _NODE_INSTANCE, at_port],
    }
    return found | ({"metric_relabel_configs": [keep(kept)]} if kept else {})


def _etcd() -> dict[str, Any]:
    """The members, one on each control plane."""
    found = _at_port("etcd", naming.ETCD_METRICS_PORT, ETCD)
    found["relabel_configs"] = [
        {"source_labels": [_CONTROL_PLANE], "regex": "true", "action": "keep"},
        *found["relabel_configs"],
    ]
    return found


def _containerd() -> dict[str, Any]:
    return {**_at_port("containerd", naming.CONTAINERD_METRICS_PORT, CONTAINERD), "metrics_path": "/v1/metrics"}


def _load_balancers(addresses: Mapping[str, IPv4Address]) -> dict[str, Any]:
    """Known from the environment: one that is gone, or is no member of the cluster, is missed all the same."""
    return {
        **_static("load-balancer", addresses, naming.LOAD_BALANCER_METRICS_PORT, LOAD_BALANCER),
        "scrape_interval": f"{ADDRESSES_EVERY_S}s",
        "scrape_timeout": IMPATIENCE,
        # Not each of its servers, of which there is a place for many more than run.
        "params": {"scope": ["frontend", "backend"]},
    }


def _static(job: str, addresses: Mapping[str, IPv4Address], port: int, kept: str) -> dict[str, Any]:
    return {
        "job_name": job,
        "static_configs": [
            {"targets": [f"{address}:{port}"], "labels": {"node": name, "instance": name}}
            for name, address in addresses.items()
        ],
        "metric_relabel_configs": [keep(kept)],
    }


def _registry(target: str) -> dict[str, Any]:
    return {
        "job_name": "registry",
        "static_configs": [{"targets": [target], "labels": {"instance": "mirror"}}],
        "metric_relabel_configs": [keep(REGISTRY)],
    }
