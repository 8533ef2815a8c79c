"""Monitoring as it is registered: what it may see, whom it reaches, and what it keeps."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import IPv4Address
from typing import Any

import pytest
import yaml

from infra import environment, naming
from infra.naming import INGRESS_POD_PORT, OBJECT_STORE_NAMESPACE, WORKLOADS_NAMESPACE
from infra.paths import ROOT
from infra.platform import cluster, object_store, policies
from infra.platform.monitoring import Monitoring, MonitoringArgs, bounds, names, prometheus, scraping, server
from infra.platform.object_store_settings import ADMIN_PORT
from tests.infra import recording
from tests.infra.platform.test_scraping import groups, scraped
from tests.infra.recording import Resource

READER = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
}


def registered(
    *, replicas: int = 1, persistent: bool = True, model_age_days: int | None = None, eks: bool = False
) -> list[Resource]:
    local = recording.local()
    assert local.platform.monitoring
    args = MonitoringArgs(
        cluster=dataclasses.replace(cluster.of_hosts(local.onprem), eks=eks),
        settings=local.platform.monitoring.model_copy(update={"replicas": replicas}),
        persistent=persistent,
        index=recording.index(),
        model_age_days=model_age_days,
    )
    return recording.record(lambda: Monitoring("monitoring", args))


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return registered()


@pytest.fixture(scope="module")
def replicated() -> list[Resource]:
    return registered(replicas=2)


def spec(resources: list[Resource], kind: str, name: str) -> dict[str, Any]:
    return recording.the(resources, kind, name).inputs["spec"]


def pod(resources: list[Resource], kind: str, name: str) -> dict[str, Any]:
    found = recording.the(resources, kind, name).pod
    assert found is not None
    return found


def policy(resources: list[Resource], app: str) -> dict[str, Any]:
    return spec(resources, "NetworkPolicy", f"monitoring-{app}")


def peers(rules: list[dict[str, Any]], side: str) -> dict[str, set[int]]:
    """Peer (as JSON) -> ports."""
    found: dict[str, set[int]] = {}
    for rule in rules:
        for peer in rule[side]:
            found.setdefault(json.dumps(peer, sort_keys=True), set()).update(port["port"] for port in rule["ports"])
    return found


# --- what it may see


def test_nobody_of_monitoring_can_change_anything(resources: list[Resource]) -> None:
    for role in (one for one in resources if one.kind in ("ClusterRole", "Role")):
        for rule in role.inputs["rules"]:
            assert {*rule["verbs"]} <= {"get", "list", "watch"}, role.name


def test_nobody_of_monitoring_sees_a_secret(resources: list[Resource]) -> None:
    for role in (one for one in resources if one.kind in ("ClusterRole", "Role")):
        for rule in role.inputs["rules"]:
            assert not {"secrets", "configmaps", "*", "nodes/proxy"} & {*rule.get("resources", [])}, role.name


def test_prometheus_sees_services_of_the_namespace_default_alone(resources: list[Resource]) -> None:
    everywhere = recording.the(resources, "ClusterRole", "prometheus").inputs["rules"]
    assert {one for rule in everywhere for one in rule.get("resources", [])} == {"nodes", "nodes/metrics", "pods"}
    there = recording.the(resources, "Role", "prometheus-default").inputs
    assert there["metadata"]["namespace"] == "default"
    assert {one for rule in there["rules"] for one in rule["resources"]} == {"services", "endpointslices"}


def test_what_kube_state_metrics_tells_of_it_may_watch_and_no_more(resources: list[Resource]) -> None:
    rules = recording.the(resources, "ClusterRole", "kube-state-metrics").inputs["rules"]
    (container,) = pod(resources, "Deployment", "kube-state-metrics")["containers"]
    (told,) = [one.partition("=")[2] for one in container["args"] if one.startswith("--resources=")]
    assert {one for rule in rules for one in rule["resources"]} == set(told.split(","))


def test_who_needs_no_key_to_the_api_gets_none(resources: list[Resource]) -> None:
    holders = {one.name for one in resources if one.pod and one.pod.get("automountServiceAccountToken") is not False}
    assert holders == {"prometheus", "kube-state-metrics"}


def test_the_node_exporter_alone_shares_its_host_and_can_do_nothing_to_it(resources: list[Resource]) -> None:
    sharing = {one.name for one in resources if one.pod and "hostNetwork" in one.pod}
    assert sharing == {"node-exporter"}
    volumes = [(one.name, volume) for one in resources if one.pod for volume in one.pod.get("volumes", [])]
    mounting = {name for name, volume in volumes if "hostPath" in volume}
    assert mounting == {"node-exporter"}
    exporter = pod(resources, "DaemonSet", "node-exporter")
    assert exporter["securityContext"]["runAsNonRoot"] is True
    assert "hostPID" not in exporter
    (container,) = exporter["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert recording.the(resources, "DaemonSet", "node-exporter").inputs["metadata"]["namespace"] == "monitoring-hosts"


def test_the_node_exporter_listens_at_its_hosts_own_address_and_runs_on_every_host(resources: list[Resource]) -> None:
    exporter = pod(resources, "DaemonSet", "node-exporter")
    (container,) = exporter["containers"]
    assert "--web.listen-address=$(HOST_IP):9100" in container["args"]
    assert {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}} in container["env"]
    assert exporter["tolerations"] == [{"operator": "Exists"}]


def test_the_node_exporter_reads_what_services_of_our_own_hosts_leave(resources: list[Resource]) -> None:
    (container,) = pod(resources, "DaemonSet", "node-exporter")["containers"]
    (root,) = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "root"]
    assert f"--collector.textfile.directory={root}{naming.METRICS_PATH}" in container["args"]
    assert "--collector.textfile" in container["args"]


def test_hosts_of_amazons_have_no_such_folder() -> None:
    (container,) = pod(registered(eks=True), "DaemonSet", "node-exporter")["containers"]
    assert not [one for one in container["args"] if "textfile" in one]


# --- whom it reaches, and who reaches it


def test_prometheus_reaches_the_ports_of_its_targets_and_nothing_else(resources: list[Resource]) -> None:
    reached = peers(policy(resources, "prometheus")["egress"], "to")
    shown = {_shown(json.loads(peer)): ports for peer, ports in reached.items()}
    assert shown == {
        "10.90.0.0/24": {6443, 10250, 9100, naming.LOAD_BALANCER_METRICS_PORT, 2381, 1338, 9962, 9965},
        "10.90.0.2/32": {naming.MIRROR_METRICS_PORT},
        "kube-system/coredns": {9153},
        f"{OBJECT_STORE_NAMESPACE}/garage": {ADMIN_PORT},
        f"{WORKLOADS_NAMESPACE}/inference": {INGRESS_POD_PORT},
        f"{WORKLOADS_NAMESPACE}/replication": {INGRESS_POD_PORT},
        f"{WORKLOADS_NAMESPACE}/backup": {INGRESS_POD_PORT},
        "kube-state-metrics": {8080},
        "alertmanager": {9093},
        "prometheus": {9090},
    }


def _shown(peer: dict[str, Any]) -> str:
    if "ipBlock" in peer:
        return peer["ipBlock"]["cidr"]
    namespace = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name")
    app = peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
    return f"{namespace}/{app}" if namespace else app


def test_each_is_asked_by_prometheus_alone(resources: list[Resource]) -> None:
    for app, port in (("prometheus", 9090), ("alertmanager", 9093), ("kube-state-metrics", 8080)):
        received = {_shown(json.loads(peer)): ports for peer, ports in _ingress(resources, app).items()}
        assert received == {"prometheus": {port}}, app


def _ingress(resources: list[Resource], app: str) -> dict[str, set[int]]:
    return peers(policy(resources, app)["ingress"], "from")


def test_a_single_alertmanager_talks_to_nobody_and_two_to_each_other(
    resources: list[Resource], replicated: list[Resource]
) -> None:
    assert policy(resources, "alertmanager")["egress"] == []
    (container,) = pod(resources, "Deployment", "alertmanager")["containers"]
    assert "--cluster.listen-address=" in container["args"], "nothing listens for others"
    (container,) = pod(replicated, "Deployment", "alertmanager")["containers"]
    assert "--cluster.peer=alertmanager.monitoring.svc.cluster.local:9094" in container["args"]
    gossip, dns = policy(replicated, "alertmanager")["egress"]
    assert {(one["port"], one["protocol"]) for one in gossip["ports"]} == {(9094, "TCP"), (9094, "UDP")}
    assert {one["port"] for one in dns["ports"]} == {53}


def test_others_are_opened_to_prometheus_at_the_port_of_their_metrics_alone(platform: list[Resource]) -> None:
    ingress = recording.the(platform, "NetworkPolicy", "object-store-garage").inputs["spec"]["ingress"]
    opened = [rule for rule in ingress if READER in rule["from"]]
    assert [one["port"] for rule in opened for one in rule["ports"]] == [ADMIN_PORT]


def test_where_nobody_watches_nothing_is_opened() -> None:
    assert policies.read_by((), 8080) == []
    assert object_store.ObjectStoreArgs.metrics_readers == ()


# --- what it reads


def test_every_app_that_is_read_is_let_through_by_both_policies(resources: list[Resource]) -> None:
    reached = {_shown(json.loads(peer)) for peer in peers(policy(resources, "prometheus")["egress"], "to")}
    for app in scraping.APPS:
        if app.app == names.CILIUM:
            continue  # on its host's network, at ports of the host
        assert (app.app if app.namespace == names.NAMESPACE else f"{app.namespace}/{app.app}") in reached, app.job


def test_every_app_that_is_read_has_a_port_of_that_name(resources: list[Resource], platform: list[Resource]) -> None:
    offered = {
        (resource.inputs["metadata"]["namespace"], label, port["name"])
        for resource in [*platform, *resources]
        if resource.pod
        for label in [resource.inputs["spec"]["template"]["metadata"]["labels"].get("app.kubernetes.io/name")]
        for container in resource.pod["containers"]
        for port in container.get("ports", [])
    }
    for app in scraping.APPS:
        # The workloads' are not of the platform; Cilium's are its chart's, see test_cilium.py.
        if app.namespace != WORKLOADS_NAMESPACE and app.app != names.CILIUM:
            assert (app.namespace, app.app, app.port) in offered, app.job


def test_no_target_is_found_by_a_name_of_the_clusters_dns(resources: list[Resource]) -> None:
    for job in scraped().values():
        assert "dns_sd_configs" not in job
        for target in (one for group in job.get("static_configs", []) for one in group["targets"]):
            assert IPv4Address(target.partition(":")[0])
    assert not [peer for peer in peers(policy(resources, "prometheus")["egress"], "to") if "kube-dns" in peer]


def test_the_site_reads_as_often_as_its_file_says(resources: list[Resource]) -> None:
    files = recording.the(resources, "ConfigMap", "prometheus-config").inputs["data"]
    config = yaml.safe_load(files["prometheus.yml"])
    assert config["global"]["scrape_interval"] == config["global"]["evaluation_interval"] == "30s"
    assert config["global"]["external_labels"] == {"cluster": "onprem"}


# --- what it keeps


def test_it_keeps_what_it_reads_on_a_volume_and_never_more_than_fits(resources: list[Resource]) -> None:
    (claim,) = spec(resources, "StatefulSet", "prometheus")["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == naming.STORAGE_CLASS
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    files = recording.the(resources, "ConfigMap", "prometheus-config").inputs["data"]
    kept = yaml.safe_load(files["prometheus.yml"])["storage"]["tsdb"]["retention"]
    assert kept == {"size": f"{2 * 2**30 * 4 // 5}B"}
    assert server.retention("10Gi") == f"{8 * 2**30}B"


def test_where_a_site_has_no_volumes_it_is_bounded_all_the_same() -> None:
    plain = registered(persistent=False)
    assert spec(plain, "StatefulSet", "prometheus")["volumeClaimTemplates"] == []
    (data,) = [one for one in pod(plain, "StatefulSet", "prometheus")["volumes"] if one["name"] == "data"]
    assert data["emptyDir"]["sizeLimit"] == "2Gi"


def test_nothing_is_mounted_inside_what_cannot_be_written_to(resources: list[Resource]) -> None:
    for resource in resources:
        for container in resource.pod["containers"] if resource.pod else []:
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            inside = [(one, other) for one in paths for other in paths if other.startswith(f"{one}/")]
            assert not inside, container["name"]


def test_one_may_be_lost_where_there_are_two(resources: list[Resource], replicated: list[Resource]) -> None:
    assert not [one for one in resources if one.kind == "PodDisruptionBudget"], "a budget of one keeps hosts undrained"
    for kind, app in (("StatefulSet", "prometheus"), ("Deployment", "alertmanager")):
        assert spec(replicated, kind, app)["replicas"] == 2
        assert spec(replicated, "PodDisruptionBudget", app)["maxUnavailable"] == 1
        (spread,) = pod(replicated, kind, app)["topologySpreadConstraints"]
        assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "DoNotSchedule")


def test_a_change_of_rules_or_settings_starts_the_pods_anew(resources: list[Resource]) -> None:
    mounted = {
        one["name"]: one["configMap"]["name"] for one in _config_maps(pod(resources, "StatefulSet", "prometheus"))
    }
    for what in ("config", "rules"):
        made = recording.the(resources, "ConfigMap", f"prometheus-{what}").inputs["metadata"]["name"]
        assert mounted[what] == made
        assert made.startswith(f"prometheus-{what}-"), "the name holds a digest of the content"


def test_how_old_a_model_may_be_is_what_its_alert_compares_with(resources: list[Resource]) -> None:
    """And where the environment names no age there is nothing to compare with."""
    bounded = registered(model_age_days=30)
    ours = {path.name for path in prometheus.RULES.glob("*.yaml")}
    assert recording.the(resources, "ConfigMap", "prometheus-rules").inputs["data"].keys() == ours
    written = recording.the(bounded, "ConfigMap", "prometheus-rules").inputs["data"]
    assert written.keys() == {*ours, bounds.FILE}
    (group,) = yaml.safe_load(written[bounds.FILE])["groups"]
    assert group["rules"] == [{"record": bounds.MODEL_AGE, "expr": "vector(2592000)"}]
    (alert,) = [rule for group in groups() for rule in group["rules"] if rule.get("alert") == "ModelTooOld"]
    assert alert["expr"].endswith(f" {bounds.MODEL_AGE}")


def _config_maps(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in pod["volumes"] if "configMap" in one]


@pytest.mark.parametrize("name", ["local", "hybrid", "staging", "prod"])
def test_every_environment_of_ours_is_watched(name: str) -> None:
    env = environment.load(ROOT / "environments" / f"{name}.yaml")
    assert env.platform.monitoring
    assert env.platform.monitoring.replicas == (1 if env.onprem.provisioner == "lab" else 2)
