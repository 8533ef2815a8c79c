"""The rules: each alert says what it is and what to do, is tested to fire and not to, and uses metrics that exist.

`promtool` runs the tests of rules/; it comes with Prometheus' module, and `make test` builds it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.artifacts import Index
from infra.paths import ROOT
from infra.platform.monitoring import alertmanager, bounds, host_jobs, kube_state_metrics, linked, prometheus, scraping
from ops.mirror.sync import sync

HERE = Path(__file__).parent
OF_SITE = sorted(prometheus.RULES.glob("*.yaml"))
LINKED = sorted(linked.RULES.glob("*.yaml"))
RULES = sorted([*OF_SITE, *LINKED], key=lambda path: path.name)
TESTS = sorted((HERE / "rules").glob("*.yaml"))
EVERY_HOST_JOB = host_jobs.Hosts(
    load_balancers={"onprem-1": IPv4Address("10.90.0.11")},
    gpu_hosts={"onprem-1": IPv4Address("10.90.0.11")},
    registry="10.90.0.2:5001",
)
RUNBOOKS = ROOT / "docs" / "runbooks"


def rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def alerts() -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, rule) of every alert. A site and the view may tell the same thing, each by what it sees."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from ((path.name, rule) for rule in group["rules"] if "alert" in rule)


ALERTS = {rule["alert"] for _, rule in alerts()}


def tried() -> Iterator[tuple[str, str, bool]]:
    """(file, alert, whether it is to fire) of every test."""
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for one in test["alert_rule_test"]:
                yield path.name, one["alertname"], bool(one.get("exp_alerts"))


def test_every_alert_is_tested_to_fire_and_not_to() -> None:
    written = {(file, rule["alert"]) for file, rule in alerts()}
    assert {(file, name) for file, name, fires in tried() if fires} == written
    assert {(file, name) for file, name, fires in tried() if not fires} == written


def test_every_file_of_rules_has_its_file_of_tests() -> None:
    assert [path.name for path in TESTS] == [path.name for path in RULES]


@pytest.mark.parametrize("alert", [pytest.param(rule, id=f"{file}:{rule['alert']}") for file, rule in alerts()])
def test_an_alert_says_how_bad_it_is_what_it_is_and_what_to_do(alert: dict[str, Any]) -> None:
    name = alert["alert"]
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"].keys() == {"summary", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"


def test_every_alert_has_its_runbook_and_no_runbook_is_of_nothing() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == ALERTS


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_a_runbook_says_what_it_means_how_to_check_and_how_to_cure(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Meaning", "Check", "Cure"]


def test_the_views_tests_know_the_sites_as_the_program_writes_them() -> None:
    assert yaml.safe_load((HERE / "rules" / "sites" / linked.SITES_FILE).read_text()) == yaml.safe_load(
        linked.of_view(far_site="cloud")[linked.SITES_FILE]
    )


def test_what_is_muted_and_by_what_are_alerts() -> None:
    for rule in alertmanager.config()["inhibit_rules"]:
        (by,) = rule["source_matchers"]
        assert by.split('"')[1] in ALERTS
        (muted,) = rule["target_matchers"]
        for pattern in muted.split('"')[1].split("|"):
            assert [name for name in ALERTS if re.fullmatch(pattern, name)], pattern


def metrics(prefix: str) -> set[str]:
    """Names of metrics that rules use, without those that rules make."""
    text = " ".join(rule["expr"] for rule in rules())
    return set(re.findall(rf"(?<![\w:]){prefix}\w*", text))


def test_our_own_metrics_are_those_that_workloads_and_hosts_have() -> None:
    """As prometheus_client spells them: counters end in _total, histograms have buckets, a sum and a count."""
    known = set[str]()
    for path in (ROOT / "workloads").glob("*/src/*/*.py"):
        for kind, name in re.findall(r'= (Counter|Gauge|Histogram)\(\s*"(\w+)"', path.read_text()):
            ends = {"Counter": ["_total"], "Gauge": [""], "Histogram": ["_bucket", "_sum", "_count"]}[kind]
            known |= {name + end for end in ends}
    # What services of hosts leave for the node exporter.
    for path in (ROOT / "ansible" / "roles").glob("*/templates/*"):
        known |= set(re.findall(r"^# TYPE (isthmus_\w+) ", path.read_text(), re.MULTILINE))
    assert metrics("isthmus_") <= known


def test_the_bound_of_a_slow_answer_is_one_that_inference_counts() -> None:
    text = (ROOT / "workloads/inference/src/isthmus_inference/metrics.py").read_text()
    (buckets,) = re.findall(r"buckets=\(([^)]+)\)", text)
    counted = [one.strip() for one in buckets.split(",")]
    bounds = {bound for rule in rules() for bound in re.findall(r'isthmus_\w+{le="([^"]+)"', rule["expr"])}
    assert bounds and bounds <= set(counted)


@pytest.mark.parametrize(
    ("prefix", "kept", "labels"),
    [
        ("kube_", "|".join(one for patterns in kube_state_metrics.METRICS.values() for one in patterns), ""),
        ("kubelet_", host_jobs.KUBELET, ""),
        ("etcd_server_", host_jobs.ETCD, ""),
        ("etcd_mvcc_", host_jobs.ETCD, ""),
        ("cilium_", scraping.CILIUM, ""),
        ("apiserver_", scraping.API_SERVER, ";;"),
        ("etcd_request_duration_seconds_bucket", scraping.API_SERVER, ";update;0.4"),
        ("etcd_request_duration_seconds_count", scraping.API_SERVER, ";update;"),
        ("haproxy_", host_jobs.LOAD_BALANCER, ""),
        ("container_", host_jobs.CADVISOR, ";inference;inference-1"),
    ],
)
def test_what_rules_need_of_what_is_sifted_is_kept(prefix: str, kept: str, labels: str) -> None:
    used = metrics(prefix)
    assert used, "the pattern finds nothing"
    assert not [name for name in used if not re.fullmatch(kept, name + labels)]


@pytest.fixture(scope="module")
def promtool() -> Path:
    # No environment asks for it.
    sync(["promtool"])
    return Index.load().artifact("promtool").local


@pytest.mark.mirror
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_are_to_and_only_then(promtool: Path, path: Path) -> None:
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.mirror
def test_prometheus_takes_the_configuration_and_every_rule(promtool: Path, tmp_path: Path) -> None:
    config = scraping.config(
        cluster="onprem",
        every_s=30,
        retention="1717986918B",
        hosts=EVERY_HOST_JOB,
        view_url="https://10.96.0.9:9443/api/v1/write",
        reads_view=True,
    )
    config["rule_files"] = [str(prometheus.RULES / "*.yaml")]
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    # The files of the cluster's account are not here.
    check = [promtool, "check", "config", "--syntax-only", "--lint=all", "--lint-fatal", path]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = bounds.files(model_age_days=30) | linked.of_view(far_site="cloud")
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    every = [*OF_SITE, linked.RULES / "sending.yaml", linked.RULES / "mesh.yaml", *(tmp_path / name for name in made)]
    check = [promtool, "check", "rules", "--lint=all", "--lint-fatal", *every]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
