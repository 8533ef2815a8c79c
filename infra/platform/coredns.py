"""CoreDNS: the cluster's names. Ours rather than kubeadm's add-on, whose replicas both start on the first host.

It answers for the cluster alone: a site need not reach the internet, so any other name is answered at once with "no
such name" instead of a wait for a server that is not there. The exception are hosts that are told of alerts.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core, meta, networking, policy, rbac

from infra import naming
from infra.alerts import Alerts
from infra.artifacts import Index
from infra.platform import pods, policies
from infra.platform.cluster import Cluster

APP: Final = "coredns"
NAMESPACE: Final = "kube-system"
USER: Final = 65534
PORT: Final = 53
METRICS_PORT: Final = 9153

LABELS: Final = {"k8s-app": "kube-dns"}
"""How network policies of anyone find the cluster's DNS: a convention older than CoreDNS."""

COREFILE: Final = """\
cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {
    errors
    # Between SIGTERM and the end: clients stop coming only when every node has heard of it.
    health {
        lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        # who serves an app changes; the load balancers follow by these answers
        ttl 5
    }
    prometheus :9153
    cache 30
    loadbalance
}
.:53 {
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
"""


OUTSIDE: Final = """\
{names} {{
    errors
    forward . {resolvers}
    cache 30
}}
"""


def corefile(alerts: Alerts | None) -> str:
    """The whole Corefile. Of names outside it looks up those alone that are told of alerts, whoever asks."""
    if not alerts or not alerts.names:
        return COREFILE
    names = " ".join(f"{name}:53" for name in alerts.names)
    return COREFILE + OUTSIDE.format(names=names, resolvers=" ".join(map(str, alerts.resolvers)))


class CoreDns(pulumi.ComponentResource):
    """Two replicas on different hosts at the address that every kubelet hands to its pods."""

    def __init__(
        self,
        name: str,
        *,
        cluster: Cluster,
        index: Index,
        alerts: Alerts | None = None,
        metrics_readers: Sequence[policies.Peer] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("isthmus:platform:CoreDns", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        allowed = _network(cluster, alerts, metrics_readers, child)
        # Only then, or no pod would find another by name meanwhile. The rest of the namespace is on the hosts' network.
        policies.deny_all(NAMESPACE, opts=pulumi.ResourceOptions(parent=self, depends_on=[allowed]))
        text = corefile(alerts)
        configuration = core.v1.ConfigMap(
            APP,
            metadata=_metadata(pods.content_name(APP, text)),
            data={"Corefile": text},
            opts=child,
        )
        account = core.v1.ServiceAccount(APP, metadata=_metadata(APP), opts=child)
        access = _access(child)
        self.service = core.v1.Service(
            "kube-dns",
            metadata=_metadata("kube-dns"),
            spec={
                "selector": LABELS,
                "cluster_ip": str(cluster.dns_address),
                "ports": [
                    {"name": "dns", "port": PORT, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": PORT, "protocol": "TCP"},
                    {"name": "metrics", "port": METRICS_PORT, "protocol": "TCP"},
                ],
            },
            opts=child,
        )
        policy.v1.PodDisruptionBudget(
            APP,
            metadata=_metadata(APP),
            spec={"max_unavailable": 1, "selector": {"match_labels": LABELS}},
            opts=child,
        )
        replicas = min(2, len(cluster.workers))
        spread = pods.apart(APP, replicas=replicas, cluster=cluster)
        self.deployment = apps.v1.Deployment(
            APP,
            metadata=_metadata(APP),
            spec={
                "replicas": replicas,
                "selector": {"match_labels": LABELS},
                "strategy": {"rolling_update": {"max_surge": 1, "max_unavailable": 0}},
                "template": {
                    "metadata": {"labels": pods.selector(APP) | LABELS},
                    "spec": _pod(pods.image(index.artifact("coredns-image")), configuration.metadata["name"], spread),
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[account, access]),
        )
        self.register_outputs({})


def _metadata(name: str) -> meta.v1.ObjectMetaArgsDict:
    metadata = pods.metadata(APP, name=name, namespace=NAMESPACE)
    metadata["labels"] = pods.selector(APP) | naming.LABELS | LABELS
    return metadata


def _network(
    cluster: Cluster, alerts: Alerts | None, readers: Sequence[policies.Peer], opts: pulumi.ResourceOptions
) -> networking.v1.NetworkPolicy:
    """It answers whoever asks: a new pod would else have to wait until the hosts of CoreDNS know of it."""
    dns = policies.ports(PORT, protocol="UDP") + policies.ports(PORT)
    egress = [policies.to_api(cluster)]
    if alerts and alerts.names:
        egress.append({"to": [policies.network(IPv4Network(one)) for one in alerts.resolvers], "ports": dns})
    ingress: list[policies.Ingress] = [{"ports": dns}, *policies.read_by(readers, METRICS_PORT)]
    return policies.allow(APP, NAMESPACE, ingress=ingress, egress=egress, opts=opts)


def _access(opts: pulumi.ResourceOptions) -> rbac.v1.ClusterRoleBinding:
    role = rbac.v1.ClusterRole(
        APP,
        metadata=pods.metadata(APP, name="isthmus:coredns"),
        rules=[
            {"api_groups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
            {"api_groups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
        opts=opts,
    )
    return rbac.v1.ClusterRoleBinding(
        APP,
        metadata=pods.metadata(APP, name="isthmus:coredns"),
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.metadata["name"]},
        subjects=[{"kind": "ServiceAccount", "name": APP, "namespace": NAMESPACE}],
        opts=opts,
    )


def _pod(
    image: str, corefile: pulumi.Input[str], spread: list[core.v1.TopologySpreadConstraintArgsDict]
) -> core.v1.PodSpecArgsDict:
    security = pods.unprivileged(USER)
    # Names are asked for on port 53, which only root may listen on unless the pod's own kernel setting allows it.
    security["sysctls"] = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]
    return {
        "service_account_name": APP,
        "priority_class_name": "system-cluster-critical",
        "dns_policy": "Default",
        "security_context": security,
        "topology_spread_constraints": spread,
        "tolerations": [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule", "operator": "Exists"},
        ],
        "containers": [
            {
                "name": APP,
                "image": image,
                "args": ["-conf", "/etc/coredns/Corefile"],
                "ports": [
                    {"name": "dns", "container_port": PORT, "protocol": "UDP"},
                    {"name": "dns-tcp", "container_port": PORT, "protocol": "TCP"},
                    {"name": "metrics", "container_port": METRICS_PORT, "protocol": "TCP"},
                ],
                "resources": {
                    "requests": {"cpu": "20m", "memory": "48Mi"},
                    "limits": {"cpu": "500m", "memory": "170Mi"},
                },
                "security_context": pods.locked(),
                "volume_mounts": [{"name": "config", "mount_path": "/etc/coredns", "read_only": True}],
                "readiness_probe": {
                    "http_get": {"path": "/ready", "port": 8181},
                    "period_seconds": 5,
                    "timeout_seconds": 2,
                },
                "liveness_probe": {
                    "http_get": {"path": "/health", "port": 8080},
                    "period_seconds": 20,
                    "timeout_seconds": 5,
                    "failure_threshold": 3,
                },
            }
        ],
        "volumes": [{"name": "config", "config_map": {"name": corefile}}],
    }
