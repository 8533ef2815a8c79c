"""Names and ports that the parts of monitoring agree on, and who may read other apps' metrics."""

from __future__ import annotations

from typing import Final

from infra.platform import policies

NAMESPACE: Final = "monitoring"
HOSTS_NAMESPACE: Final = "monitoring-hosts"
"""Of the node exporter alone, which is part of its host: no other pod of monitoring may do what it may."""

PROMETHEUS: Final = "prometheus"
ALERTMANAGER: Final = "alertmanager"
NODE_EXPORTER: Final = "node-exporter"
KUBE_STATE_METRICS: Final = "kube-state-metrics"
CILIUM: Final = "cilium-agent"
"""What the chart calls the agents' pods in their labels."""
VIEW: Final = "prometheus-view"
"""The Prometheus that both sites send to; on-prem alone."""

PROMETHEUS_PORT: Final = 9090
GRAFANA_PORT: Final = 3000
ALERTMANAGER_PORT: Final = 9093
VIEW_PORT: Final = 9443
GOSSIP_PORT: Final = 9094
NODE_EXPORTER_PORT: Final = 9100
KUBE_STATE_METRICS_PORT: Final = 8080
KUBE_STATE_METRICS_OWN_PORT: Final = 8081

KUBELET_PORT: Final = 10250

VIEW_NAME: Final = f"{VIEW}.{NAMESPACE}.svc"
"""What the view's certificate names; it is reached by addresses."""

READER: Final[policies.Peer] = policies.app(PROMETHEUS, within=NAMESPACE)
"""The pods that read metrics of other namespaces; nobody else there does."""
