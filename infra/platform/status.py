"""The status page: a site, and the one at the other end of the link, at a glance; workloads/status is what runs.

It reads and shows, and may do nothing else. One replica: it keeps nothing, and starts elsewhere soon after its host is
lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core

from infra.artifacts import Index
from infra.environment import Status as Settings
from infra.naming import INGRESS_POD_PORT, STATUS, STATUS_NAMESPACE, WORKLOADS_NAMESPACE, status_page
from infra.platform import accounts, namespaces, pods, policies, priorities
from infra.platform.cluster import Cluster
from infra.platform.monitoring import names
from infra.platform.published import publish

APP: Final = STATUS
NAMESPACE: Final = STATUS_NAMESPACE
PORT: Final = 8080

VIEWER: Final[policies.Peer] = policies.app(APP, within=NAMESPACE)
"""The pod, which other apps let ask for what they know."""

KUBERNETES_OFFSET: Final = 1
"""The API's own Service has the first address of the Services' range: the page shows nodes also while DNS is ill."""

LISTED: Final = {
    "": ("nodes", "pods"),
    "apps": ("deployments", "statefulsets", "daemonsets"),
    "batch": ("jobs",),
    "resource.k8s.io": ("deviceclasses", "devicetaintrules", "resourceclaims", "resourceslices"),
}
"""Group -> resources that it may list: all that workloads/status asks for (LISTS of its kubernetes.py)."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page shows beside its own cluster: the model that inference serves, and the other site.

    `peer`: the other site's ingress address, where its page is; None where there is no other page.
    """

    settings: Settings
    model: str
    peer: IPv4Address | None = None


class Status(pulumi.ComponentResource):
    """Nothing waits for it: a site that is not shown still works."""

    def __init__(
        self, name: str, *, cluster: Cluster, shown: Shown, index: Index, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("isthmus:platform:Status", name, None, opts)
        namespace = namespaces.confined(NAMESPACE, opts=pulumi.ResourceOptions(parent=self))
        inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        rules: list[accounts.Rule] = [
            {"api_groups": [group], "resources": list(resources), "verbs": ["list"]}
            for group, resources in LISTED.items()
        ]
        may = accounts.allowed(APP, NAMESPACE, rules, inside)
        network = policies.allow(APP, NAMESPACE, ingress=[], egress=_egress(cluster, shown), opts=inside)
        publish(APP, NAMESPACE, PORT, status_page(shown.settings.port), port_name="http", cluster=cluster, opts=inside)
        apps.v1.Deployment(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "replicas": 1,
                "selector": {"match_labels": pods.selector(APP)},
                "template": {"metadata": {"labels": pods.selector(APP)}, "spec": _pod(cluster, shown, index)},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*may, network]),
        )
        self.register_outputs({})


def _egress(cluster: Cluster, shown: Shown) -> list[policies.Egress]:
    """Each source at its port, and no others."""
    inference = policies.app("inference", within=WORKLOADS_NAMESPACE)
    alertmanager = policies.app(names.ALERTMANAGER, within=names.NAMESPACE)
    rules: list[policies.Egress] = [
        policies.to_dns(),
        policies.to_api(cluster),
        {"to": [inference], "ports": policies.ports(INGRESS_POD_PORT)},
        {"to": [alertmanager], "ports": policies.ports(names.ALERTMANAGER_PORT)},
    ]
    if shown.peer:
        peer = policies.network(IPv4Network(shown.peer))
        rules.append({"to": [peer], "ports": policies.ports(shown.settings.port)})
    return rules


def variables(cluster: Cluster, shown: Shown) -> dict[str, str]:
    """What the program is told; workloads/status/README.md says what each means."""
    told = {
        "SITE": cluster.name,
        "KUBERNETES_URL": f"https://{cluster.service_address(KUBERNETES_OFFSET)}",
        "INFERENCE_URL": f"http://inference.{WORKLOADS_NAMESPACE}.svc.cluster.local",
        "MODEL": shown.model,
        "ALERTMANAGER_URL": f"http://{names.ALERTMANAGER}.{names.NAMESPACE}.svc.cluster.local:{names.ALERTMANAGER_PORT}",
        "REFRESH_SECONDS": str(shown.settings.refresh_seconds),
        "PORT": str(PORT),
    }
    if shown.peer:
        told["PEER_URL"] = f"http://{shown.peer}:{shown.settings.port}"
    return {f"ISTHMUS_{key}": value for key, value in told.items()}


def _pod(cluster: Cluster, shown: Shown, index: Index) -> core.v1.PodSpecArgsDict:
    return {
        "service_account_name": APP,
        "priority_class_name": priorities.MONITORING,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "tolerations": pods.leaving_soon(),
        "containers": [
            {
                "name": APP,
                "image": pods.image(index.artifact(STATUS)),
                "env": [{"name": key, "value": value} for key, value in sorted(variables(cluster, shown).items())],
                "ports": [{"name": "http", "container_port": PORT}],
                # It holds the list of pods once, as bytes: reading a thousand of them took 90 MiB at most.
                "resources": {
                    "requests": {"cpu": "20m", "memory": "64Mi"},
                    "limits": {"cpu": "500m", "memory": "192Mi"},
                },
                "security_context": pods.locked(),
                "startup_probe": pods.probe("/health/live", "http", period=2, failures=45),
                "readiness_probe": pods.probe("/health/ready", "http", period=10, failures=3),
                "liveness_probe": pods.probe("/health/live", "http", period=30, failures=3),
                "termination_message_policy": "FallbackToLogsOnError",
            }
        ],
    }
