"""The object store bears the loss of a host, and is open to nobody but its users."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from infra.platform import cluster, object_store_settings
from infra.platform.object_store_settings import config_file, desired_state, replicas
from tests.infra import program, recording
from tests.infra.recording import Resource

BUCKETS = {"models": "workloads"}
"""With the names of their keys."""


@pytest.fixture
def settings() -> tuple[Any, Any]:
    environment = recording.local()
    return cluster.of_hosts(environment.onprem), environment.platform.object_store


def test_each_replica_is_bound_to_a_host_of_its_own(platform: list[Resource]) -> None:
    # the engine registers in no fixed order: by name, then
    recorded = sorted((one for one in platform if one.kind == "PersistentVolume"), key=lambda one: one.name)
    volumes = [one.inputs["spec"] for one in recorded]
    hosts = [
        one["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"][0] for one in volumes
    ]
    assert hosts == ["onprem-1", "onprem-2", "onprem-3"]
    claims = [one["claimRef"]["name"] for one in volumes]
    spec = recording.the(platform, "StatefulSet", "garage").inputs["spec"]
    assert spec["replicas"] == 3
    template = spec["volumeClaimTemplates"][0]["metadata"]["name"]
    assert claims == [f"{template}-garage-{i}" for i in range(3)]


def test_data_outlives_the_volumes(platform: list[Resource]) -> None:
    for volume in (one for one in platform if one.kind == "PersistentVolume"):
        assert volume.inputs["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


def test_no_two_replicas_share_a_host(platform: list[Resource]) -> None:
    pod = recording.the(platform, "StatefulSet", "garage").inputs["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"


def test_only_one_replica_is_taken_away_at_a_time(platform: list[Resource]) -> None:
    assert recording.the(platform, "PodDisruptionBudget", "garage").inputs["spec"]["maxUnavailable"] == 1


def test_replicas_know_each_other_by_addresses_that_never_change(platform: list[Resource], settings: Any) -> None:
    for replica in replicas(*settings):
        service = recording.the(platform, "Service", replica.name).inputs["spec"]
        config = tomllib.loads(config_file(replica, settings[1]))
        assert config["rpc_public_addr"] == f"{service['clusterIP']}:3901"
        assert service["selector"] == {"statefulset.kubernetes.io/pod-name": replica.name}
        assert service["publishNotReadyAddresses"] is True, "replicas must meet before they are ready"


def test_three_copies_are_kept_unless_there_is_one_replica(settings: Any) -> None:
    _, store = settings
    assert object_store_settings.copies(store) == 3
    assert object_store_settings.copies(store.model_copy(update={"replicas": 1})) == 1


def test_a_changed_configuration_rolls_the_servers(platform: list[Resource]) -> None:
    config = recording.the(platform, "ConfigMap", "garage-config").inputs["metadata"]["name"]
    pod = recording.the(platform, "StatefulSet", "garage").inputs["spec"]["template"]["spec"]
    assert {"name": "config", "configMap": {"name": config, **pod["volumes"][0]["configMap"]}} == pod["volumes"][0]
    assert config != "garage-config"


def test_the_setup_runs_again_when_its_goal_changes(platform: list[Resource], settings: Any) -> None:
    config = recording.the(platform, "ConfigMap", "garage-setup").inputs
    job = recording.the(platform, "Job", "garage-setup").inputs
    volume = job["spec"]["template"]["spec"]["volumes"][0]
    assert volume["configMap"]["name"] == config["metadata"]["name"]
    assert job["metadata"]["name"].startswith("garage-setup-")
    cluster_facts, store = settings
    larger = store.model_copy(update={"capacity": "4Gi"})
    assert desired_state(cluster_facts, store, BUCKETS) != desired_state(cluster_facts, larger, BUCKETS)


def test_workloads_and_hosts_have_a_bucket_and_a_key_each(platform: list[Resource]) -> None:
    """Who trains models cannot write over a backup."""
    made = json.loads(recording.the(platform, "ConfigMap", "garage-setup").inputs["data"]["state.json"])
    assert made["buckets"] == BUCKETS, "a site that stands alone has nowhere to send backups"
    resources = program.of("hybrid").resources
    made = json.loads(recording.the(resources, "ConfigMap", "garage-setup").inputs["data"]["state.json"])
    assert made["buckets"] == {**BUCKETS, "backups": "hosts"}
    pod = recording.the(resources, "Job", "garage-setup").inputs["spec"]["template"]["spec"]
    (projected,) = [volume["projected"] for volume in pod["volumes"] if volume["name"] == "secrets"]
    given = {one["secret"]["name"]: [item["path"] for item in one["secret"]["items"]] for one in projected["sources"]}
    assert given == {
        "garage": ["admin_token"],
        "object-store-credentials": ["models/access_key_id", "models/secret_access_key"],
        "backups-credentials": ["backups/access_key_id", "backups/secret_access_key"],
    }
    secrets = {
        one.inputs["metadata"]["name"]: one.inputs["stringData"]
        for one in resources
        if one.kind == "Secret" and one.inputs["metadata"].get("namespace") == "object-store"
    }
    assert secrets["backups-credentials"] != secrets["object-store-credentials"]


def test_objects_are_spread_over_hosts_as_zones(settings: Any) -> None:
    nodes = desired_state(*settings, BUCKETS)["nodes"]
    assert [node["zone"] for node in nodes] == ["onprem-1", "onprem-2", "onprem-3"]
    assert {node["capacity"] for node in nodes} == {2 * 1024**3}


def test_the_store_is_open_to_workloads_replicas_its_setup_and_who_watches_it(platform: list[Resource]) -> None:
    spec = recording.the(platform, "NetworkPolicy", "object-store-garage").inputs["spec"]
    ports = {rule["ports"][0]["port"]: rule["from"] for rule in spec["ingress"]}
    prometheus = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    }
    assert ports == {
        3900: [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "workloads"}}}],
        3901: [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "garage"}}}],
        3903: [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "garage-setup"}}}, prometheus],
    }
    assert [rule["ports"][0]["port"] for rule in spec["egress"]] == [3901]
