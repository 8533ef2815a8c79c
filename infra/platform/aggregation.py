"""An API that a program of ours answers for: API servers ask the program that runs beside them.

One runs beside each API server, on the host's own network, heard by that host alone: an API server asks its own and no
other. One that waits for a host without power makes everybody wait who asks for the schemas of the API, like
`kubectl create` and `pulumi up`: it holds the lock on them while it asks for those of such an API (30 s were measured
with a Deployment behind a Service). When a host is lost, its API server is too; the others have what they need.

For the seconds that a rebooted host's API server is up before the program, API servers contradict each other about
whether the API is available, some 250 small writes in all.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import apiregistration, apps, core, meta, rbac

from infra.artifacts import Index
from infra.naming import LABELS
from infra.platform import pods
from infra.platform.accounts import Rule
from infra.platform.cluster import Cluster
from infra.resources import Certificate

NAMESPACE: Final = "kube-system"
LOOPBACK: Final = "127.0.0.1"
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A program that API servers ask; `args`, `mounts` and `volumes` are its own, beside those that each has."""

    app: str
    """Its name, and its image's in the mirror."""
    group: str
    version: str
    port: int
    """Of the hosts that have API servers."""
    reads: Sequence[Rule]
    """What it may read."""
    readers: str
    """Name of the role of who may ask the API; whoever may view a namespace has it there."""
    answers: Rule
    """What the role lets them ask."""
    args: Sequence[str]
    mounts: Sequence[core.v1.VolumeMountArgsDict] = ()
    volumes: Sequence[core.v1.VolumeArgsDict] = ()

    @property
    def tls_secret(self) -> str:
        return f"{self.app}-tls"

    @property
    def tls_path(self) -> str:
        return f"/etc/{self.app}"

    @property
    def role(self) -> str:
        return f"isthmus:{self.app}"

    def metadata(self, name: str | None = None) -> meta.v1.ObjectMetaArgsDict:
        return pods.metadata(self.app, name=name, namespace=NAMESPACE)


def serve(server: Server, *, cluster: Cluster, index: Index, parent: pulumi.Resource) -> None:
    """The program, and the API, which is done once the API servers answer for it."""
    child = pulumi.ResourceOptions(parent=parent)
    app = server.app
    # The name that API servers ask for and verify; no other client speaks with it.
    certificate = Certificate(app, names=[f"{app}.{NAMESPACE}.svc"], opts=child)
    secret = core.v1.Secret(
        server.tls_secret,
        metadata=server.metadata(server.tls_secret),
        type="kubernetes.io/tls",
        string_data={"tls.crt": certificate.certificate, "tls.key": certificate.private_key},
        opts=child,
    )
    account = core.v1.ServiceAccount(app, metadata=server.metadata(), opts=child)
    needed = [secret, account, *_access(server, child)]
    daemon_set = apps.v1.DaemonSet(
        app,
        metadata=server.metadata(),
        spec={
            "selector": {"match_labels": pods.selector(app)},
            "template": {
                "metadata": {
                    "labels": pods.selector(app),
                    # It reads its certificate when it starts.
                    "annotations": {"isthmus.dev/certificate": pods.fingerprint(certificate.certificate)},
                },
                "spec": _pod(server, cluster, index),
            },
        },
        opts=pulumi.ResourceOptions(parent=parent, depends_on=needed),
    )
    service = core.v1.Service(
        app,
        metadata=server.metadata(),
        # To the API server, which takes the name by itself, this is its own host.
        spec={"type": "ExternalName", "external_name": "localhost"},
        opts=child,
    )
    authority = certificate.certificate.apply(lambda pem: base64.b64encode(pem.encode()).decode())
    apiregistration.v1.APIService(
        app,
        metadata=pods.metadata(app, name=f"{server.version}.{server.group}"),
        spec={
            "group": server.group,
            "version": server.version,
            "group_priority_minimum": 100,
            "version_priority": 100,
            "service": {"name": app, "namespace": NAMESPACE, "port": server.port},
            "ca_bundle": authority,
        },
        # Not before something answers: discovery of every client would be told of an API that is not there.
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[daemon_set, service]),
    )


def _access(server: Server, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """What it may read, how it learns who asks, and that whoever may view a namespace may ask about it."""
    app = server.app
    everybody = {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")}
    rbac.v1.ClusterRole(
        server.readers,
        metadata={"name": server.readers, "labels": pods.selector(app) | LABELS | everybody},
        rules=[server.answers],
        opts=opts,
    )
    role = rbac.v1.ClusterRole(app, metadata=pods.metadata(app, name=server.role), rules=list(server.reads), opts=opts)
    subjects: list[rbac.v1.SubjectArgsDict] = [{"kind": "ServiceAccount", "name": app, "namespace": NAMESPACE}]
    group = "rbac.authorization.k8s.io"
    reads = rbac.v1.ClusterRoleBinding(
        app,
        metadata=pods.metadata(app, name=server.role),
        role_ref={"api_group": group, "kind": "ClusterRole", "name": role.metadata["name"]},
        subjects=subjects,
        opts=opts,
    )
    asks = rbac.v1.ClusterRoleBinding(
        f"{app}-auth-delegator",
        metadata=pods.metadata(app, name=f"{server.role}:auth-delegator"),
        role_ref={"api_group": group, "kind": "ClusterRole", "name": "system:auth-delegator"},
        subjects=subjects,
        opts=opts,
    )
    knows = rbac.v1.RoleBinding(
        f"{app}-auth-reader",
        metadata=server.metadata(f"{app}-auth-reader"),
        role_ref={"api_group": group, "kind": "Role", "name": "extension-apiserver-authentication-reader"},
        subjects=subjects,
        opts=opts,
    )
    return [reads, asks, knows]


def _pod(server: Server, cluster: Cluster, index: Index) -> core.v1.PodSpecArgsDict:
    return {
        "service_account_name": server.app,
        # Discovery of the whole API suffers without it, so it is not what makes room for others.
        "priority_class_name": "system-cluster-critical",
        "enable_service_links": False,
        "host_network": True,
        "security_context": pods.unprivileged(),
        "node_selector": {CONTROL_PLANE: ""},
        # A host is not ready before pods have a network, and this needs none.
        "tolerations": [
            {"key": key, "effect": "NoSchedule", "operator": "Exists"}
            for key in (CONTROL_PLANE, "node.kubernetes.io/not-ready")
        ],
        "containers": [_container(server, cluster, index)],
        "volumes": [pods.mounted_secret("tls", server.tls_secret, "tls.crt", "tls.key"), *server.volumes],
    }


def _container(server: Server, cluster: Cluster, index: Index) -> core.v1.ContainerArgsDict:
    return {
        "name": server.app,
        "image": pods.image(index.artifact(server.app)),
        # A host's pods may start before Services work; the API server that they stand beside is ready only later.
        "env": [
            {"name": "KUBERNETES_SERVICE_HOST", "value": cluster.api_host},
            {"name": "KUBERNETES_SERVICE_PORT", "value": str(cluster.api_port)},
        ],
        "args": [
            f"--bind-address={LOOPBACK}",
            f"--secure-port={server.port}",
            f"--tls-cert-file={server.tls_path}/tls.crt",
            f"--tls-private-key-file={server.tls_path}/tls.key",
            *server.args,
        ],
        "ports": [{"name": "https", "container_port": server.port}],
        "resources": {
            "requests": {"cpu": "10m", "memory": "48Mi"},
            "limits": {"cpu": "500m", "memory": "192Mi"},
        },
        "security_context": pods.locked(),
        "volume_mounts": [{"name": "tls", "mount_path": server.tls_path, "read_only": True}, *server.mounts],
        # Each probe is a TLS handshake, and nobody's request waits for its answer.
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
