"""A site as its sources tell of it: answers of Kubernetes, Alertmanager, inference and the other site's page."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
from isthmus_status.models import Alert, Champion, Cluster, Reading, Site, now

DIGEST = f"sha256:{'ab' * 32}"
SECRET = "what-nobody-should-see"


def node(name: str, *, ready: bool = True, **more: Any) -> dict[str, Any]:
    """A node of 2 cores, 8 GiB and two devices, as the API has it."""
    amounts = {"cpu": "2", "memory": "8388608Ki", "pods": "110", "hugepages-2Mi": "0", "example.com/resource": "2"}
    labels = {"kubernetes.io/hostname": name, "node-role.kubernetes.io/control-plane": ""}
    return {
        "metadata": {"name": name, "labels": labels | more.get("labels", {}), "annotations": {"note": SECRET}},
        "spec": more.get("spec", {"podCIDR": "10.244.0.0/24"}),
        "status": {
            "capacity": amounts,
            "allocatable": amounts | more.get("allocatable", {}),
            "nodeInfo": {"kubeletVersion": "v1.37.2", "machineID": "x"},
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": "True" if ready else "Unknown"},
                *more.get("conditions", []),
            ],
        },
    }


def pod(namespace: str, name: str, on: str, *, phase: str = "Running", ready: bool = True, **spec: Any) -> Any:
    """A pod whose container asks for 250m and 1 GiB."""
    container = {
        "name": "it",
        "env": [{"name": "PASSWORD", "value": SECRET}],
        "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}},
    }
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": on, "containers": [container], **spec},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
    }


def resource_slice(node: str, *devices: str, ill: str = "", driver: str = "gpu.example.com") -> dict[str, Any]:
    """A driver's devices of a node; one of them may be ill."""
    taint = {"taints": [{"key": "ill", "effect": "NoSchedule", "timeAdded": "2026-11-26T20:00:00Z"}]}
    return {
        "metadata": {"name": f"{node}-{driver}"},
        "spec": {
            "driver": driver,
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": [
                {"name": one, "attributes": {"note": {"string": SECRET}}} | (taint if one == ill else {})
                for one in devices
            ],
        },
    }


def claim(*devices: tuple[str, str], driver: str = "gpu.example.com") -> dict[str, Any]:
    """A claim that has these devices, each of a pool; of none when it waits."""
    results = [{"request": "it", "driver": driver, "pool": pool, "device": device} for pool, device in devices]
    status = {"allocation": {"devices": {"results": results}}} if devices else {}
    return {"metadata": {"name": "user-1", "namespace": "workloads"}, "spec": {"devices": {}}, "status": status}


def taint_rule(effect: str = "NoSchedule", **selector: str) -> dict[str, Any]:
    """An administrator's word on the devices that the selector names."""
    taint = {"key": "ill", "effect": effect, "timeAdded": "2026-11-26T20:00:00Z"}
    return {"metadata": {"name": "ill"}, "spec": {"deviceSelector": selector, "taint": taint}}


def workload(namespace: str, name: str, spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}


def alert(name: str, severity: str = "warning", **annotations: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": severity, "cluster": "onprem", "token": SECRET},
        "annotations": {"summary": f"{name} happened", "runbook_url": f"docs/runbooks/{name}.md", **annotations},
        "startsAt": "2026-11-26T20:00:00.000Z",
        "status": {"state": "active"},
    }


class World:
    """What every source answers; a test changes it. A source named in `gone` refuses connections."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.asked: list[httpx.Request] = []
        jobs = [workload("workloads", "training-1", {"completions": 1}, {"succeeded": 1})]
        self.lists: dict[str, list[Any]] = {
            "nodes": [node("onprem-2"), node("onprem-1")],
            "pods": [
                pod("workloads", "inference-1", "onprem-1"),
                pod("workloads", "inference-2", "onprem-2"),
                pod("workloads", "training-1", "onprem-1", phase="Succeeded", ready=False),
                pod("monitoring", "prometheus-0", "onprem-1"),
            ],
            "deployments": [workload("workloads", "inference", {"replicas": 2}, {"readyReplicas": 2})],
            "statefulsets": [workload("monitoring", "prometheus", {"replicas": 1}, {"readyReplicas": 1})],
            "daemonsets": [
                workload("monitoring", "exporter", {}, {"desiredNumberScheduled": 2, "numberReady": 2}),
            ],
            "jobs": jobs,
            "resourceslices": [],
            "deviceclasses": [],
            "resourceclaims": [],
            "devicetaintrules": [],
        }
        self.alerts: Any = []
        self.champion: Any = {"name": "digits", "versions": ["v1-abc"], "parameters": {"digest": DIGEST}}
        self.peer: Any = other_site().model_dump(mode="json")

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.url.host in self.gone:
            raise httpx.ConnectError("Connection refused")
        path = request.url.path
        match request.url.host:
            case "kubernetes":
                assert request.headers["Authorization"] == "Bearer the-token"
                kind = path.rpartition("/")[2]
                if kind not in self.lists:
                    return httpx.Response(404, json={"kind": "Status", "code": 404})
                return httpx.Response(200, json={"items": self.lists[kind]})
            case "alertmanager":
                assert path == "/api/v2/alerts"
                return httpx.Response(200, json=self.alerts)
            case "inference":
                assert path == "/v2/models/digits"
                return httpx.Response(200 if "name" in self.champion else 503, json=self.champion)
            case "peer":
                assert path == "/api/site"
                return httpx.Response(200, json=self.peer)
        raise AssertionError(request.url)


def other_site(name: str = "cloud", version: str = "v1-abc") -> Site:
    """A healthy site without nodes."""
    champion = Champion(name="digits", version=version, digest=DIGEST)
    return Site(
        name=name,
        told_at=now(),
        cluster=Reading[Cluster]().said(Cluster(nodes=[], namespaces=[])),
        champion=Reading[Champion]().said(champion),
        alerts=Reading[list[Alert]]().said([]),
    )


Open = Callable[..., httpx.Client]
"""Starts the application and gives a client of it."""


def eventually(condition: Callable[[], Any], what: str, seconds: float = 20) -> None:
    """Waits for something that the next look brings."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not {what} within {seconds} s"
        time.sleep(0.02)
