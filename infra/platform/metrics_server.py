"""metrics-server: what each pod and host uses now, for autoscaling and `kubectl top`; it keeps no history.

On EKS it is an add-on (infra/cloud/addons.py); everywhere else, the lab's cloud site too, this is it.

One runs beside each API server, on the host's own network, heard by that host alone: an API server asks its own and no
other. One that waits for a host without power makes everybody wait who asks for the schemas of the API, like
`kubectl create` and `pulumi up`: it holds the lock on them while it asks metrics-server for its own (30 s were measured
with a Deployment behind a Service). When a host is lost, its API server is too; the others have what they need.

While one restarts, autoscalers that ask its API server keep the number of replicas that they have; nothing that serves
asks for it. For the seconds that a rebooted host's API server is up before it, API servers contradict each other about
whether the API is available, some 250 small writes in all.
"""

from __future__ import annotations

import base64
from typing import Final

import pulumi
from pulumi_kubernetes import apiregistration, apps, core, meta, rbac

from infra.artifacts import Index
from infra.naming import LABELS
from infra.platform import pods
from infra.platform.cluster import Cluster
from infra.resources import Certificate

APP: Final = "metrics-server"
NAMESPACE: Final = "kube-system"
PORT: Final = 4443
LOOPBACK: Final = "127.0.0.1"
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"

RESOLUTION_S: Final = 30
"""Between two readings of every kubelet, each of which makes the kubelet look at all of its containers: half of the
usual rate is half of its price, and an autoscaler still sees a load within a minute."""

TLS_SECRET: Final = "metrics-server-tls"
TLS_PATH: Final = "/etc/metrics-server"
READER: Final = "isthmus:metrics-reader"
ROLE: Final = "isthmus:metrics-server"


class MetricsServer(pulumi.ComponentResource):
    """`api` is done once the API servers answer for metrics.k8s.io."""

    api: apiregistration.v1.APIService
    daemon_set: apps.v1.DaemonSet

    def __init__(
        self, name: str, *, cluster: Cluster, index: Index, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("isthmus:platform:MetricsServer", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        # The name that API servers ask for and verify; no other client speaks with it.
        certificate = Certificate(APP, names=[f"{APP}.{NAMESPACE}.svc"], opts=child)
        secret = core.v1.Secret(
            TLS_SECRET,
            metadata=_metadata(TLS_SECRET),
            type="kubernetes.io/tls",
            string_data={"tls.crt": certificate.certificate, "tls.key": certificate.private_key},
            opts=child,
        )
        account = core.v1.ServiceAccount(APP, metadata=_metadata(APP), opts=child)
        needed = [secret, account, *_access(child)]
        self.daemon_set = apps.v1.DaemonSet(
            APP,
            metadata=_metadata(APP),
            spec={
                "selector": {"match_labels": pods.selector(APP)},
                "template": {
                    "metadata": {
                        "labels": pods.selector(APP),
                        # It reads its certificate when it starts.
                        "annotations": {"isthmus.dev/certificate": pods.fingerprint(certificate.certificate)},
                    },
                    "spec": _pod(cluster, index),
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=needed),
        )
        service = core.v1.Service(
            APP,
            metadata=_metadata(APP),
            # To the API server, which takes the name by itself, this is its own host.
            spec={"type": "ExternalName", "external_name": "localhost"},
            opts=child,
        )
        authority = certificate.certificate.apply(lambda pem: base64.b64encode(pem.encode()).decode())
        self.api = apiregistration.v1.APIService(
            APP,
            metadata=pods.metadata(APP, name="v1beta1.metrics.k8s.io"),
            spec={
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "group_priority_minimum": 100,
                "version_priority": 100,
                "service": {"name": APP, "namespace": NAMESPACE, "port": PORT},
                "ca_bundle": authority,
            },
            # Not before something answers: discovery of every client would be told of an API that is not there.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.daemon_set, service]),
        )
        self.register_outputs({})


def _metadata(name: str) -> meta.v1.ObjectMetaArgsDict:
    return pods.metadata(APP, name=name, namespace=NAMESPACE)


def _access(opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """What it may read, how it learns who asks, and that whoever may view a namespace may see what its pods use."""
    everybody = {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")}
    rbac.v1.ClusterRole(
        READER,
        metadata={"name": READER, "labels": pods.selector(APP) | LABELS | everybody},
        rules=[{"api_groups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}],
        opts=opts,
    )
    role = rbac.v1.ClusterRole(
        APP,
        metadata=pods.metadata(APP, name=ROLE),
        rules=[
            {"api_groups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
            {"api_groups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
        ],
        opts=opts,
    )
    subjects: list[rbac.v1.SubjectArgsDict] = [{"kind": "ServiceAccount", "name": APP, "namespace": NAMESPACE}]
    group = "rbac.authorization.k8s.io"
    reads = rbac.v1.ClusterRoleBinding(
        APP,
        metadata=pods.metadata(APP, name=ROLE),
        role_ref={"api_group": group, "kind": "ClusterRole", "name": role.metadata["name"]},
        subjects=subjects,
        opts=opts,
    )
    asks = rbac.v1.ClusterRoleBinding(
        f"{APP}-auth-delegator",
        metadata=pods.metadata(APP, name=f"{ROLE}:auth-delegator"),
        role_ref={"api_group": group, "kind": "ClusterRole", "name": "system:auth-delegator"},
        subjects=subjects,
        opts=opts,
    )
    knows = rbac.v1.RoleBinding(
        f"{APP}-auth-reader",
        metadata=_metadata(f"{APP}-auth-reader"),
        role_ref={"api_group": group, "kind": "Role", "name": "extension-apiserver-authentication-reader"},
        subjects=subjects,
        opts=opts,
    )
    return [reads, asks, knows]


def _pod(cluster: Cluster, index: Index) -> core.v1.PodSpecArgsDict:
    return {
        "service_account_name": APP,
        # Discovery of the whole API suffers without it, so it is not what makes room for others.
        "priority_class_name": "system-cluster-critical",
        "enable_service_links": False,
        "host_network": True,
        "security_context": pods.unprivileged(),
        "node_selector": {CONTROL_PLANE: ""},
        "tolerations": [{"key": CONTROL_PLANE, "effect": "NoSchedule", "operator": "Exists"}],
        "containers": [_container(cluster, index)],
        "volumes": [pods.mounted_secret("tls", TLS_SECRET, "tls.crt", "tls.key")],
    }


def _container(cluster: Cluster, index: Index) -> core.v1.ContainerArgsDict:
    return {
        "name": APP,
        "image": pods.image(index.artifact(APP)),
        # A host's pods may start before Services work; the API server that they stand beside is ready only later.
        "env": [
            {"name": "KUBERNETES_SERVICE_HOST", "value": cluster.api_host},
            {"name": "KUBERNETES_SERVICE_PORT", "value": str(cluster.api_port)},
        ],
        "args": [
            f"--bind-address={LOOPBACK}",
            f"--secure-port={PORT}",
            f"--tls-cert-file={TLS_PATH}/tls.crt",
            f"--tls-private-key-file={TLS_PATH}/tls.key",
            f"--metric-resolution={RESOLUTION_S}s",
            "--kubelet-preferred-address-types=InternalIP",
            # kubeadm's kubelets sign their serving certificates themselves, so there is no authority to hold them to;
            # kubeadm's API servers do not verify them either. What it takes to is in README.md, Limits.
            "--kubelet-insecure-tls",
        ],
        "ports": [{"name": "https", "container_port": PORT}],
        "resources": {
            "requests": {"cpu": "10m", "memory": "48Mi"},
            "limits": {"cpu": "500m", "memory": "192Mi"},
        },
        "security_context": pods.locked(),
        "volume_mounts": [{"name": "tls", "mount_path": TLS_PATH, "read_only": True}],
        # Ready once it has read the kubelets. Each probe is a TLS handshake, and nobody's request waits for its answer.
        "startup_probe": _probe("/livez", period=2, failures=30),
        "readiness_probe": _probe("/readyz", period=10, failures=2),
        "liveness_probe": _probe("/livez", period=30, failures=3),
        "termination_message_policy": "FallbackToLogsOnError",
    }


def _probe(path: str, *, period: int, failures: int) -> core.v1.ProbeArgsDict:
    return {
        "http_get": {"path": path, "port": "https", "scheme": "HTTPS", "host": LOOPBACK},
        "period_seconds": period,
        "timeout_seconds": 3,
        "failure_threshold": failures,
    }
