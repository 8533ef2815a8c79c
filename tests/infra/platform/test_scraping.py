"""What Prometheus is told to read: from whom, how it proves who is asked, and what of the answers it keeps."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from infra import naming
from infra.platform import cluster
from infra.platform.monitoring import host_jobs, prometheus, scraping
from tests.infra import recording


def scraped() -> dict[str, dict[str, Any]]:
    config = scraping.config(
        cluster="onprem", every_s=30, retention="1B", hosts=host_jobs.of(cluster.of_hosts(recording.local().onprem))
    )
    return {job["job_name"]: job for job in config["scrape_configs"]}


def groups() -> list[dict[str, Any]]:
    return [group for path in prometheus.RULES.glob("*.yaml") for group in yaml.safe_load(path.read_text())["groups"]]


def test_etcd_is_read_where_a_control_plane_is_and_nothing_of_hosts_that_are_amazons() -> None:
    etcd = scraped()["etcd"]["relabel_configs"][0]
    assert etcd["action"] == "keep"
    assert etcd["source_labels"] == ["__meta_kubernetes_node_labelpresent_node_role_kubernetes_io_control_plane"]
    amazons = host_jobs.Hosts(ours=False)
    assert not {"etcd", "containerd", "load-balancer", "registry"} & {
        one["job_name"] for one in host_jobs.jobs(amazons)
    }
    assert set(amazons.ports) == {10250, 9100, 9962, 9965}


def test_gpus_are_read_on_the_hosts_that_role_nvidia_takes_care_of() -> None:
    local = recording.local()
    assert "gpu" not in scraped()
    hosts = host_jobs.of(cluster.of_hosts(local.onprem, nvidia_hosts=["onprem-3"]))
    (gpu,) = [one for one in host_jobs.jobs(hosts) if one["job_name"] == "gpu"]
    (group,) = gpu["static_configs"]
    assert group["targets"] == ["10.90.0.13:9400"]
    assert naming.GPU_METRICS_PORT in hosts.ports


def test_a_registry_of_somebody_elses_is_read_where_the_file_says_that_it_tells_of_itself() -> None:
    site = recording.local().onprem.model_copy(update={"provisioner": "hosts"})
    assert cluster.of_hosts(site).registry_metrics is None
    told = site.model_copy(update={"network": site.network.model_copy(update={"mirror_metrics_port": 5555})})
    assert cluster.of_hosts(told).registry_metrics == "10.90.0.2:5555"


def test_api_servers_are_verified_and_kubelets_as_far_as_they_can_be() -> None:
    jobs = scraped()
    assert "insecure_skip_verify" not in jobs["api-server"]["tls_config"]
    assert jobs["api-server"]["tls_config"]["ca_file"].endswith("/ca.crt")
    assert {name for name, job in jobs.items() if job.get("tls_config", {}).get("insecure_skip_verify")} == {
        "kubelet",
        "cadvisor",
        "alive",
    }


def test_the_token_goes_to_kubernetes_alone() -> None:
    holders = {name for name, job in scraped().items() if "authorization" in job}
    assert holders == {"kubelet", "cadvisor", "alive", "api-server"}


def test_of_what_is_large_only_what_is_named_is_kept() -> None:
    for name in ("kubelet", "cadvisor", "api-server", "etcd", "containerd", "registry", "cilium", "flows"):
        rule, *_ = scraped()[name]["metric_relabel_configs"]
        assert rule["action"] == "keep", name


def test_of_whether_a_host_is_there_nothing_is_kept_but_the_answer() -> None:
    alive = scraped()["alive"]
    assert alive["metric_relabel_configs"] == [{"regex": ".*", "action": "drop"}]
    assert alive["relabel_configs"] == scraped()["kubelet"]["relabel_configs"]


def test_a_host_that_lost_power_is_told_within_half_a_minute() -> None:
    """At worst a question has just been answered, the next is given up, and the group has just been evaluated."""
    (group,) = [one for one in groups() if [rule.get("alert") for rule in one["rules"]] == ["NodeDown"]]
    job, (rule,) = scraped()["alive"], group["rules"]
    steps = (job["scrape_interval"], job["scrape_timeout"], group["interval"], rule["for"])
    assert sum(int(step.removesuffix("s")) for step in steps) < 30
    assert group["interval"] == job["scrape_interval"]


@pytest.mark.parametrize(
    ("series", "kept"),
    [
        ("container_cpu_usage_seconds_total;inference;inference-1", True),
        ("container_cpu_usage_seconds_total;;inference-1", False),  # the pod's cgroup, the sum of its containers
        ("container_cpu_usage_seconds_total;;", False),  # a cgroup of the host
        ("container_network_receive_bytes_total;;inference-1", True),
        ("container_network_receive_bytes_total;;", False),  # the host's devices, one a pod
        ("container_tasks_state;inference;inference-1", False),
    ],
)
def test_of_containers_each_thing_is_kept_once(series: str, kept: bool) -> None:
    (rule,) = scraped()["cadvisor"]["metric_relabel_configs"]
    assert rule["source_labels"] == ["__name__", "container", "pod"]
    assert bool(re.fullmatch(rule["regex"], series)) is kept


@pytest.mark.parametrize(
    ("series", "kept"),
    [
        ("etcd_request_duration_seconds_bucket;update;0.4", True),
        ("etcd_request_duration_seconds_bucket;update;0.6", False),
        ("etcd_request_duration_seconds_bucket;list;0.4", False),
        ("etcd_request_duration_seconds_count;delete;", True),
        ("etcd_request_duration_seconds_count;get;", False),
        ("etcd_request_duration_seconds_sum;update;", False),
        ("apiserver_request_total;;", True),
        ("apiserver_client_certificate_expiration_seconds_bucket;;604800", True),
        ("apiserver_request_duration_seconds_bucket;;0.4", False),
    ],
)
def test_of_writes_to_etcd_it_is_kept_how_many_are_quick(series: str, kept: bool) -> None:
    (rule,) = scraped()["api-server"]["metric_relabel_configs"]
    assert rule["source_labels"] == ["__name__", "operation", "le"]
    assert bool(re.fullmatch(rule["regex"], series)) is kept


def test_series_of_others_keep_their_own_labels() -> None:
    assert [name for name, job in scraped().items() if job.get("honor_labels")] == ["kube-state-metrics"]
