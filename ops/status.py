"""`make status`: every part of an environment at a glance."""

from __future__ import annotations

import httpx
from rich.console import Console
from rich.table import Table

from infra.environment import Environment
from ops import backend, cluster, machines
from ops.console import Failure
from ops.up import load

Row = tuple[str, str, str]


def status(environment: str) -> int:
    """Prints a table of parts; 0 when all of them are well."""
    settings = load(environment)
    rows: list[Row] = []
    for part in (_machines, _addresses, _nodes, _pods, _model):
        try:
            rows += part(environment, settings)
        except Failure as failure:
            rows.append((part.__name__.lstrip("_"), "failing", failure.what))
    table = Table(
        "part", "state", "detail", title=f"{environment}: {settings.kubernetes.version}", title_justify="left"
    )
    for row in rows:
        table.add_row(*row, style=None if row[1] in GOOD else "bold red")
    Console().print(table)
    for name in backend.stand_ins():
        print(f"The {name} plugin is this project's stand-in: the official one could not be had here.")
    return 0 if all(row[1] in GOOD for row in rows) else 1


GOOD = frozenset({"running", "ready", "held", "serving", "completed"})


def _machines(environment: str, settings: Environment) -> list[Row]:
    if settings.onprem.provisioner != "lab":
        return []
    found = machines.statuses(environment)
    return [
        (f"machine {host.name}", found.get(host.name, "missing"), str(host.address)) for host in settings.onprem.hosts
    ]


def _addresses(_environment: str, settings: Environment) -> list[Row]:
    network = settings.onprem.network
    probes = {
        "API address": f"https://{network.api_address}:{network.api_port}/readyz",
        "ingress address": f"http://{network.ingress_address}:{network.ingress_port}/v2/health/ready",
    }
    rows = []
    for name, url in probes.items():
        try:
            # The API server's certificate is checked by kubectl below; here only the path to it counts.
            code = httpx.get(url, timeout=3, verify=False).status_code
            rows.append((name, "ready" if code in (200, 401, 403) else "failing", f"{url} HTTP {code}"))
        except httpx.HTTPError as fault:
            rows.append((name, "failing", f"{url} {fault}"))
    return rows


def _nodes(environment: str, _settings: Environment) -> list[Row]:
    return [
        (
            f"node {node['metadata']['name']}",
            "ready" if cluster.ready(node) else "not ready",
            node["status"]["nodeInfo"]["kubeletVersion"],
        )
        for node in cluster.items(environment, "nodes")
    ]


def _pods(environment: str, _settings: Environment) -> list[Row]:
    by_namespace: dict[str, list[bool]] = {}
    for pod in cluster.items(environment, "pods"):
        phase = pod["status"].get("phase")
        by_namespace.setdefault(pod["metadata"]["namespace"], []).append(phase == "Succeeded" or cluster.ready(pod))
    return [
        (f"pods in {namespace}", "ready" if all(well) else "not ready", f"{sum(well)} of {len(well)}")
        for namespace, well in sorted(by_namespace.items())
    ]


def _model(_environment: str, settings: Environment) -> list[Row]:
    network, model = settings.onprem.network, settings.workloads.inference.model
    url = f"http://{network.ingress_address}:{network.ingress_port}/v2/models/{model}"
    try:
        answer = httpx.get(url, timeout=3)
        answer.raise_for_status()
    except httpx.HTTPError as fault:
        return [(f"model {model}", "failing", str(fault))]
    return [(f"model {model}", "serving", ", ".join(answer.json().get("versions", [])))]
