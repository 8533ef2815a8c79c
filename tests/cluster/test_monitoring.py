"""Monitoring of the running site: it reads everything, its rules work, alerts arrive, and it forgets nothing."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from infra import nodes
from infra.environment import Onprem
from infra.paths import state
from infra.platform.monitoring import host_jobs, names, scraping
from ops import cluster, machines, sites
from ops.console import Failure
from ops.up import load
from tests.cluster import watching
from tests.cluster.watching import Api

ENVIRONMENT = os.environ.get("ISTHMUS_ENV", "local")
SITES = list(sites.of(load(ENVIRONMENT)))
pytestmark = pytest.mark.skipif(load(ENVIRONMENT).platform.monitoring is None, reason="nobody watches the site")

ANSWERS = {
    "prometheus": "prometheus_tsdb_head_series",
    "alertmanager": "alertmanager_alerts",
    "kube-state-metrics": "kube_node_status_condition",
    "coredns": "coredns_dns_requests_total",
    "object-store": "cluster_healthy",
    "inference": "isthmus_ready",
    "replication": "isthmus_replication_checked_timestamp_seconds",
    "backup": "isthmus_backup_copy_timestamp_seconds",
    "kubelet": "kubelet_running_pods",
    "cadvisor": "container_memory_working_set_bytes",
    "node": "node_memory_MemAvailable_bytes",
    "alive": "up",
    "api-server": "apiserver_request_total",
    "load-balancer": "haproxy_backend_active_servers",
    "etcd": "etcd_server_has_leader",
    "containerd": "containerd_cri_sandbox_runtime_create_seconds_count",
    "cilium": "cilium_endpoint_state",
    "flows": "hubble_flows_processed_total",
    "registry": "registry_http_requests_total",
    "gpu": "DCGM_FI_DEV_GPU_UTIL",
    "view": "prometheus_tsdb_head_series",
}
"""Job -> what it is asked for."""


@pytest.fixture(scope="module", params=SITES)
def site(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def prometheus(environment: str, site: str) -> Iterator[Api]:
    with watching.api(environment, site, "svc/prometheus", names.PROMETHEUS_PORT) as api:
        yield api


def jobs(environment: str, site: str) -> set[str]:
    """What there is to read on a site: replication runs where training does not, the object store is on-prem.

    Backups are copied to the other site, by who is there.
    """
    settings = load(environment)
    found = {*ANSWERS} - ({"gpu"} if site != "onprem" or not nodes.nvidia_hosts(settings) else set())
    if not of(environment, site).having("load_balancer"):
        found.remove("load-balancer")
    if site != "onprem":
        found.remove("object-store")
    if site != "onprem" or settings.cloud is None:
        found.remove("view")
    if settings.cloud is None or settings.workloads.training.site == site:
        found.remove("replication")
    if site == "onprem":
        found.remove("backup")
    return found


def of(environment: str, site: str) -> Onprem:
    return sites.one(load(environment), site)


def test_every_job_has_an_answer_to_look_for() -> None:
    config = scraping.config(
        cluster="",
        every_s=30,
        retention="",
        hosts=host_jobs.Hosts(
            load_balancers={"onprem-1": IPv4Address("10.90.0.11")},
            gpu_hosts={"onprem-1": IPv4Address("10.90.0.11")},
            registry="10.90.0.2:5001",
        ),
        view_url="https://10.96.0.9:9443",
        reads_view=True,
    )
    assert {job["job_name"] for job in config["scrape_configs"]} == set(ANSWERS)


def test_every_target_is_there_and_answers(environment: str, site: str, prometheus: Api) -> None:
    hosts = of(environment, site)
    expected = {
        "kubelet": len(hosts.hosts),
        "cadvisor": len(hosts.hosts),
        "node": len(hosts.hosts),
        "alive": len(hosts.hosts),
        "api-server": len(hosts.having("control_plane")),
        "etcd": len(hosts.having("control_plane")),
        "containerd": len(hosts.hosts),
        "cilium": len(hosts.hosts),
        "flows": len(hosts.hosts),
        "registry": 1,
    }
    if balancers := hosts.having("load_balancer"):
        expected["load-balancer"] = len(balancers)

    def healthy() -> bool | None:
        found = prometheus.targets()
        counts = Counter(one["labels"]["job"] for one in found)
        complete = counts.keys() == jobs(environment, site) and expected.items() <= counts.items()
        return True if complete and all(one["health"] == "up" for one in found) else None

    def told() -> str:
        found = [(one["labels"]["job"], one["scrapeUrl"], one["lastError"]) for one in prometheus.targets()]
        return "\n".join(map(str, found))

    watching.eventually(180, healthy, told)


def test_a_question_is_answered_of_each_job(environment: str, site: str, prometheus: Api) -> None:
    silent = [
        job for job in jobs(environment, site) if not prometheus.query(f'count({ANSWERS[job]}{{job="{job}"}}) > 0')
    ]
    assert not silent


def test_every_rule_is_evaluated(prometheus: Api) -> None:
    rules = [rule for group in prometheus.get("/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
    assert rules
    assert not [(one["name"], one.get("lastError")) for one in rules if one["health"] == "err"]


def test_what_is_kept_of_large_targets_is_small(prometheus: Api) -> None:
    rows = prometheus.query("sum by (job) (scrape_samples_post_metric_relabeling)")
    kept = {row["metric"]["job"]: int(row["value"][1]) for row in rows}
    print(kept)
    assert sum(kept.values()) < 20_000


def test_a_backup_of_each_control_planes_etcd_is_known(environment: str, site: str, prometheus: Api) -> None:
    planes = [host.name for host in of(environment, site).having("control_plane")]
    began = int(time.time())
    for plane in planes:
        machines.run(plane, "/usr/local/bin/isthmus-backup-etcd", timeout_s=120)

    def young() -> list[str]:
        rows = prometheus.query(f"isthmus_etcd_backup_last_success_timestamp_seconds >= {began}")
        return sorted(row["metric"]["node"] for row in rows)

    watching.eventually(120, lambda: True if young() == sorted(planes) else None, lambda: f"of {young()} alone")


def test_a_failed_training_reaches_alertmanager(environment: str, site: str) -> None:
    with watching.api(environment, site, "svc/alertmanager", names.ALERTMANAGER_PORT) as alertmanager:
        name = f"training-test-{uuid.uuid4().hex[:6]}"
        _start_failing_job(environment, site, name)
        try:

            def arrived() -> dict[str, Any] | None:
                alerts = alertmanager.get("/api/v2/alerts", filter=f'job_name="{name}"')
                return next(iter(alerts), None)

            alert = watching.eventually(180, arrived, lambda: f"no alert of {name}")
            assert alert["labels"]["alertname"] == "TrainingFailed"
            assert alert["labels"]["cluster"] == of(environment, site).cluster.name
            assert alert["annotations"]["runbook_url"] == "docs/runbooks/TrainingFailed.md"
        finally:
            cluster.kubectl(environment, "delete", "job", name, "-n", "workloads", timeout=60, site=site)


def test_a_load_balancer_that_is_lost_is_told_within_half_a_minute(environment: str) -> None:
    hosts = [host.name for host in load(environment).onprem.having("load_balancer")]
    # One that holds no address, where there is one: its loss costs nobody anything.
    lost = min(hosts, key=lambda host: _holds_an_address(environment, host))
    with watching.api(environment, "onprem", "svc/prometheus", names.PROMETHEUS_PORT) as prometheus:

        def alert() -> str:
            alerts = prometheus.get("/api/v1/alerts")["data"]["alerts"]
            about = [
                one for one in alerts if one["labels"].items() >= {("alertname", "LoadBalancerDown"), ("node", lost)}
            ]
            return about[0]["state"] if about else "none"

        assert alert() == "none"
        machines.run(lost, "systemctl", "stop", "haproxy")
        start = time.monotonic()
        try:
            watching.eventually(60, lambda: alert() == "firing" or None, alert)
            took = time.monotonic() - start
        finally:
            machines.run(lost, "systemctl", "start", "haproxy", "keepalived")
        watching.eventually(60, lambda: alert() == "none" or None, alert)
    print(f"told after {took:.0f} s")
    assert took < 30


def _holds_an_address(environment: str, host: str) -> bool:
    network = load(environment).onprem.network
    held = machines.run(host, "ip", "-o", "-4", "address", "show", "dev", "lo")
    return any(f" {address}/" in held for address in (network.api_address, network.ingress_address))


def test_what_was_read_survives_the_pod(environment: str, site: str) -> None:
    then = str(time.time())
    question = "count(up == 1)"
    with watching.api(environment, site, "svc/prometheus", names.PROMETHEUS_PORT) as before:
        told = before.query(question, time=then)
    assert told
    pod = ("pod", "prometheus-0", "-n", names.NAMESPACE)
    old = json.loads(cluster.kubectl(environment, "get", *pod, "-o", "json", site=site))["metadata"]["uid"]
    cluster.kubectl(environment, "delete", *pod, timeout=120, site=site)

    def back() -> bool | None:
        try:
            now = json.loads(cluster.kubectl(environment, "get", *pod, "-o", "json", site=site))
        except Failure:
            return None
        return True if now["metadata"]["uid"] != old and cluster.ready(now) else None

    watching.eventually(240, back, lambda: "prometheus-0 does not come back")
    with watching.api(environment, site, "pod/prometheus-0", names.PROMETHEUS_PORT) as after:
        assert after.query(question, time=then)[0]["value"][1] == told[0]["value"][1]


def _start_failing_job(environment: str, site: str, name: str) -> None:
    """A Job that is named as training's are, and that fails at once."""
    deployment = ("deployment", "inference", "-n", "workloads", "-o", "json")
    served = json.loads(cluster.kubectl(environment, "get", *deployment, site=site))["spec"]["template"]["spec"]
    container = {
        "name": "training",
        "image": served["containers"][0]["image"],
        "command": ["/usr/bin/python3.11", "-c", "raise SystemExit(1)"],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
        "securityContext": served["containers"][0]["securityContext"],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": served["securityContext"],
        "containers": [container],
    }
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "workloads"},
        "spec": {"backoffLimit": 0, "ttlSecondsAfterFinished": 600, "template": {"spec": pod}},
    }
    path = state(environment) / f"{name}.json"
    path.write_text(json.dumps(manifest))
    try:
        cluster.kubectl(environment, "create", "-f", str(path), site=site)
    finally:
        path.unlink()
