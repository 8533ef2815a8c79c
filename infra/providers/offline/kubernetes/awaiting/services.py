"""Services: ready when something ready answers behind them and a load balancer has its address."""

from __future__ import annotations

from infra.providers.offline.kubernetes.awaiting import pods
from infra.providers.offline.kubernetes.awaiting.verdict import READY, Awaiter, Object, Verdict
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.kubernetes.kinds import TABLE
from infra.providers.offline.values import at

_SLICE = TABLE["kubernetes:discovery.k8s.io/v1:EndpointSlice"]


def _service(cluster: Cluster, obj: Object) -> Verdict:
    spec = obj["spec"]
    # Nobody fills the endpoints of these three by a selector, or they are of use without any.
    pods_expected = spec.get("selector") and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None"
    if pods_expected and not _answered(cluster, obj):
        return Verdict("no ready pod behind the service")
    if spec.get("type") == "LoadBalancer" and not at(obj, "status", "loadBalancer", "ingress"):
        return Verdict("no address from a load balancer yet")
    return READY


def _answered(cluster: Cluster, obj: Object) -> bool:
    metadata = obj["metadata"]
    slices = cluster.find(_SLICE, metadata["namespace"], labels=f"kubernetes.io/service-name={metadata['name']}")
    endpoints = [endpoint for entry in slices for endpoint in entry.get("endpoints") or []]
    return any(at(endpoint, "conditions", "ready") is not False for endpoint in endpoints)


def _explain(cluster: Cluster, obj: Object) -> list[str]:
    selector = obj["spec"].get("selector") or {}
    labels = pods.selector_text({"matchLabels": selector})
    namespace = obj["metadata"]["namespace"]
    if labels and not cluster.find(pods.POD, namespace, labels=labels):
        return [f"no pod of the namespace {namespace} has the labels {labels}"]
    return pods.events(cluster, obj) + (pods.troubles(cluster, namespace, labels) if labels else [])


SERVICE = Awaiter(check=_service, explain=_explain)
