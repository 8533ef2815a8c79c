"""Requests a second of each pod that serves, for autoscaling: the site's Prometheus as the API custom.metrics.k8s.io.

prometheus-adapter runs beside each API server (aggregation.py). It keeps nothing: it asks Prometheus when it is asked,
which the autoscaler does every 15 s. While Prometheus is away it has no number: the autoscaler then goes by its other
metric if it has one, but takes no replica away. Kubernetes' own role of the autoscaler lets it ask.

Not on EKS: its API servers are Amazon's, nothing runs beside them, and inference scales on CPU alone there.
"""

from __future__ import annotations

from typing import Any, Final

import pulumi
import yaml
from pulumi_kubernetes import core

from infra.artifacts import Index
from infra.naming import CUSTOM_METRICS as APP
from infra.naming import REQUESTS_METRIC
from infra.platform import aggregation, pods, policies
from infra.platform.cluster import PROMETHEUS_OFFSET, Cluster
from infra.platform.monitoring.names import NAMESPACE, PROMETHEUS, PROMETHEUS_PORT

GROUP: Final = "custom.metrics.k8s.io"
VERSION: Final = "v1beta2"
PORT: Final = 4445

QUERIED: Final = f"{PROMETHEUS}-queried"
"""The Service and the policy by which hosts ask Prometheus."""

CONFIG_PATH: Final = "/etc/custom-metrics"
COUNTER: Final = "isthmus_inference_requests_total"
"""Requests for predictions, whatever became of them; health checks and looks at metrics are not among them."""

READINGS: Final = 4
"""How many looks at a pod a rate is made of, so that one that is missed changes little."""
RELIST_S: Final = 60
"""How often it asks Prometheus whether there is such a counter: so long after both have started there is no number."""


def config(scrape_seconds: int) -> dict[str, Any]:
    """The adapter's file; `scrape_seconds` between two looks of Prometheus at a pod."""
    # Targets are labelled with their pods' names, and their job is one app of one namespace.
    asked = '<<index .LabelValuesByName "instance">>'
    counted = f'<<.Series>>{{job="inference",instance=~"{asked}"}}[{READINGS * scrape_seconds}s]'
    return {
        "rules": [
            {
                "seriesQuery": f'{COUNTER}{{job="inference"}}',
                # Without a label for namespaces it could not be asked about pods of one.
                "resources": {"overrides": {"instance": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                "name": {"as": REQUESTS_METRIC},
                "metricsQuery": f"sum by (<<.GroupBy>>) (rate({counted}))",
            }
        ]
    }


class CustomMetrics(pulumi.ComponentResource):
    """Nothing waits for it: while it is away, autoscalers keep at least the replicas that they have."""

    def __init__(
        self,
        name: str,
        *,
        cluster: Cluster,
        scrape_seconds: int,
        index: Index,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("isthmus:platform:CustomMetrics", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        content = {"config.yaml": yaml.safe_dump(config(scrape_seconds), sort_keys=False)}
        files = core.v1.ConfigMap(
            APP,
            metadata=pods.metadata(APP, name=pods.content_name(APP, content), namespace=aggregation.NAMESPACE),
            data=content,
            opts=child,
        )
        url = _prometheus(cluster, child)
        aggregation.serve(_server(url, files.metadata["name"]), cluster=cluster, index=index, parent=self)
        self.register_outputs({})


def _prometheus(cluster: Cluster, opts: pulumi.ResourceOptions) -> str:
    """Lets the site's hosts ask it, and gives the URL where they do: they know no names of the cluster's."""
    address = str(cluster.service_address(PROMETHEUS_OFFSET))
    core.v1.Service(
        QUERIED,
        metadata=pods.metadata(PROMETHEUS, name=QUERIED, namespace=NAMESPACE),
        spec={
            "cluster_ip": address,
            "selector": pods.selector(PROMETHEUS),
            "ports": [{"name": "http", "port": PROMETHEUS_PORT, "target_port": PROMETHEUS_PORT}],
        },
        opts=opts,
    )
    # A host asks a pod of another host from the address that it has in the pod network, of which Cilium matches hosts
    # alone here.
    hosts = [policies.network(cidr) for cidr in (cluster.node_cidr, cluster.pod_cidr)]
    policies.allow(
        QUERIED,
        NAMESPACE,
        app_name=PROMETHEUS,
        ingress=[{"from_": hosts, "ports": policies.ports(PROMETHEUS_PORT)}],
        egress=[],
        opts=opts,
    )
    return f"http://{address}:{PROMETHEUS_PORT}"


def _server(url: str, config_map: pulumi.Input[str]) -> aggregation.Server:
    return aggregation.Server(
        app=APP,
        group=GROUP,
        version=VERSION,
        port=PORT,
        reads=[{"api_groups": [""], "resources": ["pods"], "verbs": ["list"]}],
        readers="isthmus:custom-metrics-reader",
        answers={"api_groups": [GROUP], "resources": [f"pods/{REQUESTS_METRIC}"], "verbs": ["get"]},
        args=[
            f"--prometheus-url={url}",
            f"--config={CONFIG_PATH}/config.yaml",
            f"--metrics-relist-interval={RELIST_S}s",
            # A Prometheus that had no pod to read for a while does not make the metric unknown.
            f"--metrics-max-age={10 * RELIST_S}s",
        ],
        mounts=[{"name": "config", "mount_path": CONFIG_PATH, "read_only": True}],
        volumes=[{"name": "config", "config_map": {"name": config_map}}],
    )
