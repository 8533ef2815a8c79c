"""The view over both sites: a Prometheus on-prem that reads nothing, and takes what the sites' own ones send.

It is not the site's own Prometheus. Rules there speak of one site, and another site's series of the same names would
falsify them; and everybody who opens the view's port must prove who they are, while kubelets, targets and people go on
using the site's own as they do. Its only port takes clients of an authority that signs for it alone and no others, to
write as to read.

There is one replica: while it is away both sites keep what they have for it. Replicas of a site's Prometheus each send
all they read, told apart by the label `prometheus_replica`; nothing is dropped of it, and rules take them for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import yaml
from pulumi_kubernetes import apps, core

from infra import naming
from infra.artifacts import Index
from infra.environment import Monitoring as Settings
from infra.naming import GRAFANA
from infra.platform import pods, policies
from infra.platform.cluster import VIEW_OFFSET, Cluster
from infra.platform.monitoring import access, linked, scraping, server
from infra.platform.monitoring.names import (
    ALERTMANAGER,
    ALERTMANAGER_PORT,
    NAMESPACE,
    PROMETHEUS,
    VIEW,
    VIEW_PORT,
)
from infra.platform.monitoring.view_keys import ViewOver
from infra.platform.published import publish

APP: Final = VIEW
SECRET: Final = f"{APP}-tls"
TLS_PATH: Final = "/etc/prometheus-tls"

LATE: Final = "3h"
"""How much older than the newest a sample may be: longer than senders keep what they could not send."""


@dataclass(frozen=True, kw_only=True)
class ViewArgs:
    """The cluster that it runs on, the one at the other end of the link, and the keys of all; see PrometheusArgs."""

    cluster: Cluster
    over: ViewOver
    settings: Settings
    persistent: bool
    index: Index


class View(pulumi.ComponentResource):
    """The Prometheus, and who reaches it."""

    def __init__(self, name: str, args: ViewArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:View", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        keys = args.over.keys
        needed: list[pulumi.Resource] = [
            core.v1.Secret(
                SECRET,
                metadata=pods.metadata(APP, name=SECRET, namespace=NAMESPACE),
                string_data={
                    "tls.crt": keys.own.certificate,
                    "tls.key": keys.own.private_key,
                    "ca.crt": keys.own.authority,
                },
                opts=child,
            ),
            *access.reader_of_own(APP, [access.watching("", "pods")], child),
            self._reachable(args.cluster, [PROMETHEUS, *([GRAFANA] if keys.asker else [])], child),
        ]
        written = {
            "prometheus.yml": yaml.safe_dump(config(args.cluster, args.settings), sort_keys=False),
            "web.yml": yaml.safe_dump(web_config(), sort_keys=False),
        }
        settings = server.files(APP, "config", written, child)
        rules = server.files(APP, "rules", linked.of_view(far_site=args.over.far_site), child)
        apps.v1.StatefulSet(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "service_name": APP,
                "replicas": 1,
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

    def _reachable(self, cluster: Cluster, by: Sequence[str], opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """By apps of its own site, Prometheus at a fixed address, and through the ingress address from the other."""
        core.v1.Service(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "cluster_ip": str(cluster.service_address(VIEW_OFFSET)),
                "selector": pods.selector(APP),
                "ports": [{"name": "https", "port": VIEW_PORT}],
            },
            opts=opts,
        )
        publish(APP, NAMESPACE, VIEW_PORT, naming.VIEW, port_name="https", cluster=cluster, opts=opts)
        return policies.allow(
            APP,
            NAMESPACE,
            ingress=[{"from_": [policies.app(app) for app in by], "ports": policies.ports(VIEW_PORT)}],
            egress=[
                policies.to_api(cluster),
                {"to": [policies.app(ALERTMANAGER)], "ports": policies.ports(ALERTMANAGER_PORT)},
            ],
            opts=opts,
        )


def config(cluster: Cluster, settings: Settings) -> dict[str, Any]:
    """The whole of prometheus.yml. Alerts that are of no site by themselves are told as of the view's own."""
    return {
        "global": {
            "evaluation_interval": f"{settings.scrape_seconds}s",
            "external_labels": {"cluster": cluster.name},
        },
        "storage": {
            "tsdb": {
                "retention": {"size": server.retention(settings.capacity)},
                # One site's samples come in order; those of both do not, when a site has to catch up.
                "out_of_order_time_window": LATE,
            }
        },
        "rule_files": [f"{scraping.RULES_PATH}/*.yaml"],
        "alerting": {"alertmanagers": [scraping.alertmanagers(within=NAMESPACE)]},
    }


def web_config() -> dict[str, Any]:
    """Who may open its port; the files are read again for each connection."""
    return {
        "tls_server_config": {
            "cert_file": f"{TLS_PATH}/tls.crt",
            "key_file": f"{TLS_PATH}/tls.key",
            "client_auth_type": "RequireAndVerifyClientCert",
            "client_ca_file": f"{TLS_PATH}/ca.crt",
            "min_version": "TLS13",
        }
    }


def _pod(args: ViewArgs, config: pulumi.Input[str], rules: pulumi.Input[str]) -> core.v1.PodSpecArgsDict:
    container = server.container(
        args.index,
        args.settings,
        args=["--web.enable-remote-write-receiver", f"--web.config.file={server.CONFIG_PATH}/web.yml"],
        port=VIEW_PORT,
        port_name="https",
        more=[{"name": "tls", "mount_path": TLS_PATH, "read_only": True}],
    )
    # The kubelet has no certificate that it would take: whether the port is open is all that it can ask, and each time
    # the log has a line of a handshake that was not made. A view that is not ready yet refuses what is sent for later.
    container["startup_probe"] = _open(period=2, failures=30)
    container["readiness_probe"] = _open(period=30, failures=2)
    container["liveness_probe"] = _open(period=60, failures=3)
    return server.pod(
        APP,
        container,
        args.settings,
        config=config,
        rules=rules,
        persistent=args.persistent,
        spread=[],
        more=[pods.mounted_secret("tls", SECRET, "tls.crt", "tls.key", "ca.crt")],
    )


def _open(*, period: int, failures: int) -> core.v1.ProbeArgsDict:
    return {
        "tcp_socket": {"port": "https"},
        "period_seconds": period,
        "timeout_seconds": 3,
        "failure_threshold": failures,
    }
