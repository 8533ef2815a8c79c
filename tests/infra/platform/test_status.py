"""The status page as it is registered: what it may see, whom it reaches, who reaches it, and what it is told."""

from __future__ import annotations

import ast
from ipaddress import IPv4Address
from typing import Any

import pytest

from infra import environment, naming
from infra.paths import ROOT
from infra.platform import Shown, cluster, status
from tests.infra import program, recording
from tests.infra.recording import Resource

PEER = IPv4Address("10.80.0.5")
VIEWER = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "status"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "status"}},
}


def registered(peer: IPv4Address | None = None) -> list[Resource]:
    local = recording.local()
    assert local.platform.status
    shown = Shown(settings=local.platform.status, model="digits", peer=peer)
    site = cluster.of_hosts(local.onprem)
    return recording.record(lambda: status.Status("status", cluster=site, shown=shown, index=recording.index()))


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return registered(PEER)


def policy(resources: list[Resource], name: str = "status") -> dict[str, Any]:
    return recording.the(resources, "NetworkPolicy", f"status-{name}").inputs["spec"]


def container(resources: list[Resource]) -> dict[str, Any]:
    pod = recording.the(resources, "Deployment", "status").pod
    assert pod is not None
    (found,) = pod["containers"]
    return found


def told(resources: list[Resource]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(resources)["env"]}


def reached(resources: list[Resource]) -> dict[str, set[int]]:
    """Range, or namespace/app -> ports."""
    found: dict[str, set[int]] = {}
    for rule in policy(resources)["egress"]:
        for peer in rule["to"]:
            found.setdefault(_shown(peer), set()).update(port["port"] for port in rule["ports"])
    return found


def _shown(peer: dict[str, Any]) -> str:
    if "ipBlock" in peer:
        return peer["ipBlock"]["cidr"]
    (app,) = peer["podSelector"]["matchLabels"].values()
    return f"{peer['namespaceSelector']['matchLabels']['kubernetes.io/metadata.name']}/{app}"


# --- what it may see


def test_it_may_list_what_it_shows_and_do_nothing_else(resources: list[Resource]) -> None:
    (role,) = [one for one in resources if one.kind in ("ClusterRole", "Role")]
    assert {verb for rule in role.inputs["rules"] for verb in rule["verbs"]} == {"list"}
    assert {one for rule in role.inputs["rules"] for one in rule["resources"]} == {
        "nodes",
        "pods",
        "deployments",
        "statefulsets",
        "daemonsets",
        "jobs",
        "deviceclasses",
        "devicetaintrules",
        "resourceclaims",
        "resourceslices",
    }


def test_it_may_list_exactly_what_its_program_asks_for(resources: list[Resource]) -> None:
    source = (ROOT / "workloads/status/src/isthmus_status/kubernetes.py").read_text()
    (lists,) = [
        one.value
        for one in ast.parse(source).body
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.target.id == "LISTS"
    ]
    assert lists is not None
    asked = {path.rpartition("/")[2] for path in ast.literal_eval(lists).values()}
    rules = recording.the(resources, "ClusterRole", "status").inputs["rules"]
    assert asked == {one for rule in rules for one in rule["resources"]}


def test_nothing_secret_is_mounted_or_told(resources: list[Resource]) -> None:
    assert not [one for one in resources if one.kind in ("Secret", "ConfigMap")]
    pod = recording.the(resources, "Deployment", "status").pod
    assert pod is not None
    assert "volumes" not in pod


# --- whom it reaches, and who reaches it


def test_it_reaches_its_sources_and_nothing_else(resources: list[Resource]) -> None:
    assert reached(resources) == {
        "kube-system/kube-dns": {53},
        "10.90.0.0/24": {6443},
        "workloads/inference": {8080},
        "monitoring/alertmanager": {9093},
        f"{PEER}/32": {8080},
    }


def test_a_site_alone_asks_nobody_else() -> None:
    alone = registered()
    assert not [one for one in reached(alone) if one.endswith("/32")]
    assert "ISTHMUS_PEER_URL" not in told(alone)


def test_only_hosts_reach_it(resources: list[Resource]) -> None:
    assert policy(resources)["ingress"] == []
    (rule,) = policy(resources, "status-published")["ingress"]
    assert [one["ipBlock"]["cidr"] for one in rule["from"]] == ["10.90.0.0/24", "10.244.0.0/16"]
    assert [one["port"] for one in rule["ports"]] == [8080]


def test_hosts_that_run_it_hand_it_on(resources: list[Resource]) -> None:
    service = recording.the(resources, "Service", "status-published").inputs["spec"]
    assert service["externalTrafficPolicy"] == "Local"
    (port,) = service["ports"]
    assert (port["port"], port["nodePort"]) == (status.PORT, naming.status_page(8080).node_port)
    assert service["selector"] == {"app.kubernetes.io/name": "status"}


def test_its_sources_let_it_in_where_they_answer_and_nobody_else_does() -> None:
    everything = program.of("local").resources
    opened = {
        (one.name, port["port"])
        for one in everything
        if one.kind == "NetworkPolicy"
        for rule in one.inputs["spec"].get("ingress", [])
        if VIEWER in rule.get("from", [VIEWER])
        for port in rule["ports"]
    }
    # Everybody may ask for names.
    assert opened == {("monitoring-alertmanager", 9093), ("workloads-inference", 8080), ("kube-system-coredns", 53)}


# --- what it is told


def test_it_is_told_of_its_site_and_asks_the_api_without_dns(resources: list[Resource]) -> None:
    found = told(resources)
    assert found["ISTHMUS_SITE"] == "onprem"
    assert found["ISTHMUS_KUBERNETES_URL"] == "https://10.96.0.1"
    assert found["ISTHMUS_MODEL"] == "digits"
    assert found["ISTHMUS_PEER_URL"] == f"http://{PEER}:8080"


def test_every_variable_is_one_that_its_program_knows(resources: list[Resource]) -> None:
    source = (ROOT / "workloads/status/src/isthmus_status/settings.py").read_text()
    (model,) = [one for one in ast.parse(source).body if isinstance(one, ast.ClassDef) and one.name == "Settings"]
    fields = {
        one.target.id for one in model.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
    }
    assert {one.removeprefix("ISTHMUS_").lower() for one in told(resources)} <= fields


def test_each_site_asks_the_others_page() -> None:
    pages = [one for one in program.of("hybrid").resources if (one.kind, one.name) == ("Deployment", "status")]
    found = {}
    for one in pages:
        assert one.pod is not None
        env = {entry["name"]: entry["value"] for entry in one.pod["containers"][0]["env"]}
        found[env["ISTHMUS_SITE"]] = env["ISTHMUS_PEER_URL"]
    assert found == {"onprem": "http://10.80.0.5:8080", "cloud": "http://10.90.0.101:8080"}


@pytest.mark.parametrize(
    ("name", "services"),
    [
        ("local", {"onprem": ["status"]}),
        ("hybrid", {"onprem": ["object-store", "mesh", "view", "status"], "cloud": ["mesh", "status"]}),
    ],
)
def test_the_ingress_address_serves_it(name: str, services: dict[str, list[str]]) -> None:
    resources = program.of(name).resources
    variables = {site: recording.the(resources, "Playbook", site).inputs["variables"] for site in program.sites(name)}
    assert {site: [one["name"] for one in told["tcp_services"]] for site, told in variables.items()} == services


def test_where_there_is_no_page_nothing_is_opened_for_it() -> None:
    plain = ROOT / "tests" / "environments" / "valid" / "watched-without-volumes.yaml"
    assert environment.load(plain).platform.status is None
    resources = program.run(plain).resources
    assert not [one for one in resources if one.inputs.get("metadata", {}).get("namespace") == "status"]
    assert recording.the(resources, "Playbook", "onprem").inputs["variables"]["tcp_services"] == []


@pytest.mark.parametrize("name", ["local", "hybrid", "staging", "prod"])
def test_every_environment_of_ours_has_it(name: str) -> None:
    assert environment.load(program.file(name)).platform.status
