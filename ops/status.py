"""`make status`: every part of an environment at a glance."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
from rich.console import Console
from rich.table import Table

from infra import addressing
from infra.cloud import lab_site
from infra.environment import Environment, Onprem
from infra.providers.offline.aws.kind import UNEXERCISED
from ops import backend, cluster, engine, machines, sites
from ops.console import Failure
from ops.up import load

Row = tuple[str, str, str]


def status(environment: str) -> int:
    """Prints a table of parts; 0 when all of them are well."""
    settings = load(environment)
    table = Table(
        "site",
        "part",
        "state",
        "detail",
        title=f"{environment}: {settings.kubernetes.version}",
        title_justify="left",
    )
    well = True
    for name in sites.named(settings):
        for row in rows(settings, name):
            good = row[1] in GOOD
            well &= good
            table.add_row(name, *row, style=None if good else "bold red")
    Console().print(table)
    for name in backend.stand_ins():
        print(f"The {name} plugin is this project's stand-in: the official one could not be had here.")
    for token in not_exercised(environment):
        print(f"not exercised here: {token} (the lab's AWS API does not know it)")
    return 0 if well else 1


def rows(settings: Environment, name: str) -> list[Row]:
    """What a site's parts say of themselves. One that can't be asked says so, and the others are asked all the same."""
    asked: list[tuple[str, Callable[[], list[Row]]]] = [
        ("nodes", lambda: _nodes(settings, name)),
        ("pods", lambda: _pods(settings, name)),
        ("model", lambda: _model(settings, name)),
    ]
    # Where Amazon has machines and addresses, its console shows them, and the tunnels of the link.
    if site := sites.of(settings).get(name):
        asked = [
            ("machines", lambda: _machines(settings, site)),
            ("link", lambda: _link(settings, name)),
            ("addresses", lambda: _addresses(site)),
            *asked,
            ("status page", lambda: _status_page(settings, site)),
        ]
    found: list[Row] = []
    for part, ask in asked:
        try:
            found += ask()
        except Failure as failure:
            found.append((part, "failing", failure.what))
    return found


GOOD = frozenset({"running", "ready", "held", "serving", "completed"})


def not_exercised(environment: str) -> list[str]:
    """Types of resources that only the engine knows, because the lab's AWS API lacks their calls."""
    if not backend.stand_ins():
        return []
    exported = json.loads(engine.pulumi(environment, "stack", "export", "--stack", environment).stdout)
    found = exported["deployment"].get("resources", [])
    return sorted({one["type"] for one in found if (one.get("outputs") or {}).get(UNEXERCISED)})


def _machines(settings: Environment, site: Onprem) -> list[Row]:
    if site.provisioner != "lab":
        return []
    found = machines.statuses(settings.name)
    return [(f"machine {host.name}", found.get(host.name, "missing"), str(host.address)) for host in site.hosts]


def _link(settings: Environment, name: str) -> list[Row]:
    """The lab's far end of the tunnels."""
    if name != "cloud" or settings.cloud is None:
        return []
    far_end = lab_site.vpn_name(settings.cloud)
    state = machines.statuses(settings.name).get(far_end, "missing")
    rows = [(f"machine {far_end}", state, str(lab_site.vpn(settings.cloud)))]
    if state == "running":
        said = machines.run(far_end, "swanctl", "--list-sas")
        tunnels = {line.split(":")[0].strip() for line in said.splitlines() if "INSTALLED" in line}
        rows.append(("link", "ready" if tunnels else "down", f"{len(tunnels)} of {len(lab_site.UPLINKS)} tunnels"))
    return rows


def _addresses(site: Onprem) -> list[Row]:
    network = site.network
    probes = {
        "API address": f"https://{network.api_address}:{network.api_port}/readyz",
        "ingress address": f"{addressing.ingress_url(network)}/v2/health/ready",
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


def _nodes(settings: Environment, name: str) -> list[Row]:
    return [
        (
            f"node {node['metadata']['name']}",
            "ready" if cluster.ready(node) else "not ready",
            node["status"]["nodeInfo"]["kubeletVersion"],
        )
        for node in cluster.items(settings.name, "nodes", site=name)
    ]


def _pods(settings: Environment, name: str) -> list[Row]:
    by_namespace: dict[str, list[bool]] = {}
    for pod in cluster.items(settings.name, "pods", site=name):
        phase = pod["status"].get("phase")
        by_namespace.setdefault(pod["metadata"]["namespace"], []).append(phase == "Succeeded" or cluster.ready(pod))
    return [
        (f"pods in {namespace}", "ready" if all(well) else "not ready", f"{sum(well)} of {len(well)}")
        for namespace, well in sorted(by_namespace.items())
    ]


def _model(settings: Environment, name: str) -> list[Row]:
    model = settings.workloads.inference.model
    url = f"{sites.ingress_url(settings, name)}/v2/models/{model}"
    try:
        answer = httpx.get(url, timeout=3)
        answer.raise_for_status()
    except httpx.HTTPError as fault:
        return [(f"model {model}", "failing", str(fault))]
    return [(f"model {model}", "serving", ", ".join(answer.json().get("versions", [])))]


def _status_page(settings: Environment, site: Onprem) -> list[Row]:
    """Where a browser sees all this and more."""
    if settings.platform.status is None:
        return []
    url = addressing.status_url(site.network, settings.platform.status.port)
    try:
        httpx.get(f"{url}/health/ready", timeout=3).raise_for_status()
    except httpx.HTTPError as fault:
        return [("status page", "failing", f"{url}/ {fault}")]
    return [("status page", "ready", f"{url}/")]
