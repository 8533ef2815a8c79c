"""What the autoscaler of the model goes by, as it gets it."""

from __future__ import annotations

import json

from infra.naming import REQUESTS_METRIC
from infra.platform.monitoring import custom_metrics
from ops import cluster

REQUESTS = f"/apis/{custom_metrics.GROUP}/{custom_metrics.VERSION}/namespaces/workloads/pods/*/{REQUESTS_METRIC}"


def number(quantity: str) -> float:
    """A number below a thousand, as Kubernetes writes it."""
    return float(quantity.removesuffix("m")) / (1000 if quantity.endswith("m") else 1)


def requests(environment: str, *, site: str = "onprem", server: str = "") -> dict[str, float]:
    """Pod -> requests a second; `server`: the API server that is asked, instead of any."""
    way = ("--server", server) if server else ()
    found = json.loads(cluster.kubectl(environment, *way, "get", "--raw", REQUESTS, site=site))
    return {one["describedObject"]["name"]: number(one["value"]) for one in found["items"]}


def averages(environment: str, *, site: str = "onprem") -> dict[str, float]:
    """What the autoscaler has seen last, on average of the replicas, by the metric's name: cores, requests a second."""
    hpa = json.loads(
        cluster.kubectl(environment, "get", "hpa", "inference", "-n", "workloads", "-o", "json", site=site)
    )
    found: dict[str, float] = {}
    for one in hpa["status"].get("currentMetrics") or []:
        # A metric that it could not get is there without a name.
        if one["type"] == "Resource":
            found[one["resource"]["name"]] = number(one["resource"]["current"]["averageValue"])
        if one["type"] == "Pods":
            found[one["pods"]["metric"]["name"]] = number(one["pods"]["current"]["averageValue"])
    return found
