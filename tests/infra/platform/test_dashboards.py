"""Dashboards: they are laid out without gaps or overlaps, and ask for nothing that is not kept."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.artifacts import Index
from infra.paths import ROOT
from infra.platform.monitoring import (
    bounds,
    dashboards,
    host_jobs,
    kube_state_metrics,
    linked,
    node_exporter,
    prometheus,
    scraping,
    sending,
)
from ops.mirror.sync import sync

FILES = sorted(dashboards.FOLDER.glob("*.yaml"))
SHOWN = {name: json.loads(text) for name, text in dashboards.files(view=True).items()}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in dashboard["panels"] if one["type"] != "row"]


def queries() -> Iterator[tuple[str, str, str, str]]:
    """(where, source, what the line is called, query) of every line and number."""
    for path in FILES:
        for row in dashboards.read(path).rows:
            for panel in row.panels:
                for legend, query in panel.queries.items():
                    yield f"{path.stem}: {row.title}: {panel.title}", row.source, legend, query


QUERIES = list(queries())

KEYWORDS = "and|or|unless|bool|offset|by|without|on|ignoring|group_left|group_right"


def metrics(query: str) -> set[str]:
    """Names of metrics and of rules' records in a query: what is neither in a selector, a list of labels nor called."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", query)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    names = set(re.findall(r"[a-zA-Z_:][\w:]*(?!\w|:|\s*\()", bare))
    return {name for name in names if not re.fullmatch(KEYWORDS, name)}


def test_names_of_metrics_are_found_in_queries() -> None:
    query = 'sum by (a, b) (rate(x_total{c=~"d|e"}[5m])) / on (a) group_left () site:y:ratio > bool 1.5 or vector(0)'
    assert metrics(query) == {"x_total", "site:y:ratio"}
    assert metrics("time() - z") == {"z"}


# --- as Grafana has them


def test_there_are_five_at_most_and_each_says_where_it_is() -> None:
    assert 1 <= len(FILES) <= 5
    assert SHOWN.keys() == {f"{path.stem}.json" for path in FILES}
    assert {one["uid"] for one in SHOWN.values()} == {f"isthmus-{path.stem}" for path in FILES}
    assert len({one["title"] for one in SHOWN.values()}) == len(FILES)
    assert all(re.fullmatch(r"[\w-]{1,40}", one["uid"]) for one in SHOWN.values()), "what Grafana takes for one"


@pytest.mark.parametrize("view", [True, False])
def test_panels_fill_the_grid_and_none_is_on_another(view: bool) -> None:
    for name, text in dashboards.files(view=view).items():
        taken: dict[tuple[int, int], str] = {}
        for panel in json.loads(text)["panels"]:
            at = panel["gridPos"]
            assert at["x"] + at["w"] <= 24
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    assert (x, y) not in taken, f"{name}: {panel['title']} is on {taken[x, y]}"
                    taken[x, y] = panel["title"]
        assert len(taken) == 24 * (1 + max(y for _, y in taken)), f"{name} has a gap"


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_panel_is_told_apart_from_others_and_so_is_each_line(name: str) -> None:
    shown = SHOWN[name]
    assert len({one["id"] for one in shown["panels"]}) == len(shown["panels"])
    for panel in panels(shown):
        references = [target["refId"] for target in panel["targets"]]
        assert len({*references}) == len(references) and all(re.fullmatch("[A-Z]", one) for one in references)
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {panel["datasource"]["uid"]}


def test_a_number_is_of_now_and_lines_are_of_a_time() -> None:
    for shown in SHOWN.values():
        for panel in panels(shown):
            number = panel["type"] == "stat"
            assert all((target["instant"], target["range"]) == (number, not number) for target in panel["targets"])


def test_a_number_that_is_bad_is_red() -> None:
    (alerts,) = [one for one in panels(SHOWN["site.json"]) if one["title"] == "Alerts that fire"]
    assert alerts["fieldConfig"]["defaults"]["thresholds"]["steps"] == [
        {"color": "green", "value": None},
        {"color": "red", "value": 1.0},
    ]


def test_without_the_view_nothing_asks_it() -> None:
    assert '"view"' not in "".join(dashboards.files(view=False).values())
    assert '"view"' in "".join(dashboards.files(view=True).values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: A\nrows: []\n", "rows"),
        ("title: A\nrows:\n  - title: B\n    panels: []\n", "panels"),
        ("title: A\nrows:\n  - title: B\n    panels:\n      - title: C\n        queries: {}\n", "queries"),
        ("title: A\nrows:\n  - title: B\n    panels:\n      - {title: C, unit: ells, queries: {a: up}}\n", "unit"),
        (
            "title: A\nrows:\n  - title: B\n    colour: red\n    panels:\n      - {title: C, queries: {a: up}}\n",
            "colour",
        ),
        ("title: A\ntitle: B\n", "title"),
    ],
)
def test_a_file_that_is_no_dashboard_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "it.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        dashboards.read(path)


# --- what they ask for


def recorded() -> set[str]:
    """What rules record."""
    texts = [path.read_text() for path in [*prometheus.RULES.glob("*.yaml"), *linked.RULES.glob("*.yaml")]]
    texts += bounds.files(model_age_days=1).values()
    groups = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def workloads() -> set[str]:
    """As prometheus_client and the hosts' services spell them."""
    known = set[str]()
    for path in (ROOT / "workloads").glob("*/src/*/*.py"):
        for kind, name in re.findall(r'= (Counter|Gauge|Histogram)\(\s*"(\w+)"', path.read_text()):
            ends = {"Counter": ["_total"], "Gauge": [""], "Histogram": ["_bucket", "_sum", "_count"]}[kind]
            known |= {name + end for end in ends}
    for path in (ROOT / "ansible" / "roles").glob("*/templates/*"):
        known |= set(re.findall(r"^(?:# TYPE |printf ')((?:isthmus|keepalived)_\w+)", path.read_text(), re.MULTILINE))
    return known


def matching(pattern: str, labels: str = "") -> Callable[[str], bool]:
    return lambda name: re.fullmatch(pattern, name + labels) is not None


COLLECTED = {
    "cpu": "cpu",
    "diskstats": "disk",
    "filesystem": "filesystem",
    "loadavg": "load(1|5|15)",
    "meminfo": "memory",
    "netdev": "network",
    "time": "time",
    "uname": "uname",
}
"""What collectors of the node exporter call theirs."""

KEPT: dict[str, Callable[[str], bool]] = {
    "ALERTS$|up$": lambda _: True,  # Prometheus' own
    ".+:": recorded().__contains__,
    "isthmus_|keepalived_": workloads().__contains__,
    "node_": matching("node_(" + "|".join(COLLECTED[one] for one in node_exporter.COLLECTORS) + ")(_.+)?"),
    "kube_": matching("|".join(one for patterns in kube_state_metrics.METRICS.values() for one in patterns)),
    "kubelet_": matching(host_jobs.KUBELET),
    "container_network_": matching(host_jobs.CADVISOR, ";POD;inference-1"),
    "container_": matching(host_jobs.CADVISOR, ";inference;inference-1"),
    "etcd_request_duration_seconds_bucket": matching(scraping.API_SERVER, ";update;0.4"),
    "etcd_request_": matching(scraping.API_SERVER, ";update;"),
    "etcd_": matching(host_jobs.ETCD),
    "apiserver_|process_": matching(scraping.API_SERVER, ";;"),
    "cilium_": matching(scraping.CILIUM),
    "hubble_": matching(scraping.HUBBLE),
    "haproxy_": matching(host_jobs.LOAD_BALANCER),
    "DCGM_": matching(host_jobs.GPU),
    # All is kept of what tells of itself in few metrics; these were seen in a lab.
    "coredns_": {"coredns_dns_responses_total", "coredns_dns_request_duration_seconds_bucket"}.__contains__,
    "cluster_": {"cluster_available", "cluster_healthy"}.__contains__,
    "prometheus_": {"prometheus_remote_storage_queue_highest_sent_timestamp_seconds"}.__contains__,
}
"""Beginning of a name -> whether one that begins so is kept; the first that fits is asked."""


def kept(name: str) -> bool:
    return next((keeps(name) for begin, keeps in KEPT.items() if re.match(begin, name)), False)


@pytest.mark.parametrize(("where", "query"), [(where, query) for where, _, _, query in QUERIES])
def test_what_is_asked_for_is_kept(where: str, query: str) -> None:
    used = metrics(query)
    assert used, f"{where}: no metric is found in {query}"
    assert not [name for name in used if not kept(name)], where


def test_no_family_of_metrics_is_here_for_nothing() -> None:
    used = set[str]().union(*(metrics(query) for *_, query in QUERIES))
    first = {next(begin for begin in KEPT if re.match(begin, name)) for name in used}
    assert first == KEPT.keys()


def test_what_is_not_kept_is_found_out() -> None:
    for name in ("node_hwmon_temp", "container_fs_reads_total", "apiserver_audit_event_total", "kube_pod_info", "x"):
        assert not kept(name), name


def test_of_the_view_nothing_is_asked_that_is_not_sent_to_it() -> None:
    asked = set[str]().union(*(metrics(query) for _, source, _, query in QUERIES if source == "view"))
    assert asked
    assert not [name for name in asked if not (re.fullmatch(sending.KEPT, name) or name.startswith("view:"))]


@pytest.mark.parametrize(("where", "legend", "query"), [(where, legend, query) for where, _, legend, query in QUERIES])
def test_a_line_is_called_by_labels_that_its_query_leaves(where: str, legend: str, query: str) -> None:
    grouped = re.search(r"^(?:topk\(\d+, |time\(\) - |histogram_quantile\([\d.]+, )?\w+ by \(([^)]+)\)", query)
    named = set(re.findall(r"{{(\w+)}}", legend))
    if grouped:
        assert named == {label.strip() for label in grouped[1].split(",")} - {"le"}, where
    elif re.match(r"(1 - )?(sum|max|min|avg|count)\(", query):
        assert not named, where


@pytest.fixture(scope="module")
def promtool() -> Path:
    # No environment asks for it.
    sync(["promtool"])
    return Index.load().artifact("promtool").local


@pytest.mark.mirror
def test_prometheus_understands_every_query(promtool: Path, tmp_path: Path) -> None:
    """As rules that record them, of which promtool tells every one that it cannot parse."""
    rules = [{"record": f"dashboard:{number}", "expr": query} for number, (*_, query) in enumerate(QUERIES)]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    check = [promtool, "check", "rules", "--lint=all", "--lint-fatal", path]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout
    rules[0]["expr"] = "sum by (a"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0, "it finds nothing"
