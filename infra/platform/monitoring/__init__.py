"""Monitoring of a site: Prometheus, its rules and Alertmanager, what tells of hosts and of objects, and dashboards.

`Monitoring(name, MonitoringArgs(...), opts)`; the same on every site. What it reads is in scraping.py, what it warns of
in rules/, and what to do then in docs/runbooks/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from infra.artifacts import Index
from infra.environment import Monitoring as Settings
from infra.naming import GRAFANA
from infra.platform import namespaces, policies
from infra.platform.cluster import Cluster
from infra.platform.monitoring.alertmanager import Alertmanager, AlertmanagerArgs
from infra.platform.monitoring.custom_metrics import CustomMetrics
from infra.platform.monitoring.grafana import Grafana, GrafanaArgs
from infra.platform.monitoring.kube_state_metrics import KubeStateMetrics
from infra.platform.monitoring.late_volumes import not_awaited
from infra.platform.monitoring.names import NAMESPACE, READER, VIEW
from infra.platform.monitoring.node_exporter import NodeExporter
from infra.platform.monitoring.prometheus import Prometheus, PrometheusArgs
from infra.platform.monitoring.sending import ClientKey, Sender, from_outside, from_within
from infra.platform.monitoring.view import View, ViewArgs
from infra.platform.monitoring.view_keys import ViewKeys, ViewOver

__all__ = ["READER", "ClientKey", "Monitoring", "MonitoringArgs", "Sender", "ViewKeys", "ViewOver", "from_outside"]


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """The cluster, the environment's settings, whether the site has volumes, and the mirror's images.

    `alert_readers`: who may ask which alerts there are; `alert_secrets`: those of receivers, by their names.
    `model_age_days`: how old a served model may be. `for_autoscalers`: whether they go by what Prometheus has read.
    Of two sites one has the view over both: there it is `over`, and on the other `sender` is how it is reached.
    `late_volumes`: whether their driver may be installed after this run.
    """

    cluster: Cluster
    settings: Settings
    persistent: bool
    index: Index
    alert_readers: tuple[policies.Peer, ...] = ()
    alert_secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    model_age_days: int | None = None
    for_autoscalers: bool = False
    over: ViewOver | None = None
    sender: Sender | None = None
    late_volumes: bool = False


class Monitoring(pulumi.ComponentResource):
    """Nothing waits for it: a site that is not watched still works."""

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        if args.late_volumes:
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(transformations=[not_awaited]))
        super().__init__("isthmus:platform:Monitoring", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = namespaces.confined(NAMESPACE, opts=child)
        inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        NodeExporter("node-exporter", index=args.index, own_hosts=not args.cluster.eks, opts=child)
        KubeStateMetrics("kube-state-metrics", cluster=args.cluster, index=args.index, opts=inside)
        keys = args.over.keys if args.over else None
        if args.over:
            _view(args, args.over, inside)
        Alertmanager(
            "alertmanager",
            AlertmanagerArgs(
                cluster=args.cluster,
                replicas=args.settings.replicas,
                index=args.index,
                # As the site's own Prometheus does, the view tells of alerts.
                readers=(*args.alert_readers, *((policies.app(VIEW),) if keys else ())),
                alerts=args.settings.alerts,
                secrets=args.alert_secrets,
            ),
            inside,
        )
        Prometheus(
            "prometheus",
            PrometheusArgs(
                cluster=args.cluster,
                settings=args.settings,
                persistent=args.persistent,
                index=args.index,
                model_age_days=args.model_age_days,
                sender=from_within(keys.near, args.cluster) if keys else args.sender,
                reads_view=keys is not None,
                askers=(policies.app(GRAFANA),) if args.settings.grafana else (),
            ),
            inside,
        )
        if args.settings.grafana:
            Grafana(
                "grafana",
                GrafanaArgs(
                    settings=args.settings.grafana,
                    scrape_seconds=args.settings.scrape_seconds,
                    index=args.index,
                    view_key=keys.asker if keys else None,
                ),
                inside,
            )
        if args.for_autoscalers:
            CustomMetrics(
                "custom-metrics",
                cluster=args.cluster,
                scrape_seconds=args.settings.scrape_seconds,
                index=args.index,
                opts=inside,
            )
        self.register_outputs({})


def _view(args: MonitoringArgs, over: ViewOver, opts: pulumi.ResourceOptions) -> View:
    return View(
        "view",
        ViewArgs(
            cluster=args.cluster,
            over=over,
            settings=args.settings,
            persistent=args.persistent,
            index=args.index,
        ),
        opts,
    )
