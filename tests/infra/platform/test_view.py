"""The view over both sites: who gets in, what is sent, and that nothing else changes."""

from __future__ import annotations

import json
import re
from typing import Any

import pulumi
import pytest
import yaml

from infra import naming
from infra.platform import cluster
from infra.platform.monitoring import Monitoring, MonitoringArgs, ViewKeys, ViewOver, linked, names, sending, view
from infra.platform.monitoring.sending import ClientKey, Sender
from tests.infra import program, recording
from tests.infra.platform.test_monitoring import peers
from tests.infra.recording import Resource


def args(**more: Any) -> MonitoringArgs:
    hybrid = recording.hybrid()
    assert hybrid.platform.monitoring
    return MonitoringArgs(
        cluster=cluster.of_hosts(hybrid.onprem),
        settings=hybrid.platform.monitoring,
        persistent=True,
        index=recording.index(),
        **more,
    )


def far_sender() -> Sender:
    secret = pulumi.Output.secret(recording.SECRET)
    key = ClientKey(certificate="its certificate", private_key=secret, authority="the view's certificate")
    return sending.from_outside(key, recording.hybrid().onprem.network.ingress_address)


@pytest.fixture(scope="module")
def near() -> list[Resource]:
    """Monitoring of the site that the view is on."""

    def made() -> None:
        over = ViewOver(far_site="cloud", keys=ViewKeys("view-keys", asked=False))
        Monitoring("monitoring", args(over=over))

    return recording.record(made)


@pytest.fixture(scope="module")
def far() -> list[Resource]:
    """Monitoring of the other site."""
    return recording.record(lambda: Monitoring("monitoring", args(sender=far_sender())))


@pytest.fixture(scope="module")
def alone() -> list[Resource]:
    """Monitoring of a site that stands alone."""
    return recording.record(lambda: Monitoring("monitoring", args()))


def spec(resources: list[Resource], kind: str, name: str) -> dict[str, Any]:
    return recording.the(resources, kind, name).inputs["spec"]


def file(resources: list[Resource], config_map: str, name: str) -> dict[str, Any]:
    return yaml.safe_load(recording.the(resources, "ConfigMap", config_map).inputs["data"][name])


def container(resources: list[Resource], name: str) -> dict[str, Any]:
    pod = recording.the(resources, "StatefulSet", name).pod
    assert pod is not None
    (found,) = pod["containers"]
    return found


# --- a site that stands alone


def test_a_site_that_stands_alone_has_nothing_of_it(alone: list[Resource]) -> None:
    assert "view" not in json.dumps([[one.type, one.name, one.inputs] for one in alone])
    written = json.dumps([one.inputs for one in program.of("local").resources])
    assert not [
        word for word in ("prometheus-view", "remote_write", "prometheus_replica", "LinkDown") if word in written
    ]


@pytest.mark.parametrize("name", ["hybrid", "prod", "staging"])
def test_of_two_sites_each_has_a_sender_and_one_the_view(name: str) -> None:
    found = program.of(name).resources
    sending_ = [one.options.provider for one in found if (one.kind, one.name) == ("Secret", sending.SECRET)]
    assert sorted(sending_) == ["cloud", "onprem"]
    (own,) = [one for one in found if (one.kind, one.name) == ("StatefulSet", names.VIEW)]
    assert own.options.provider == "onprem"
    (playbook,) = [one for one in found if (one.kind, one.name) == ("Playbook", "onprem")]
    assert "view" in [service["name"] for service in playbook.inputs["variables"]["tcp_services"]]


# --- who gets in


def test_only_who_proves_who_it_is_gets_in_and_over_tls_alone(near: list[Resource]) -> None:
    (own,) = file(near, f"{names.VIEW}-config", "web.yml").values()
    assert own["client_auth_type"] == "RequireAndVerifyClientCert"
    trusted = recording.the(near, "Secret", view.SECRET).inputs["stringData"]["value"]["ca.crt"]
    (authority,) = [one for one in near if one.kind == "Authority" and one.options.parent == "view-keys"]
    assert trusted == f"certificate of {authority.name}"
    assert "--web.config.file=/etc/prometheus/web.yml" in container(near, names.VIEW)["args"]


def test_only_the_view_takes_writes(near: list[Resource], far: list[Resource]) -> None:
    flag = "--web.enable-remote-write-receiver"
    assert flag in container(near, names.VIEW)["args"]
    assert not [one for one in (near, far) if flag in container(one, "prometheus")["args"]]


def test_keys_are_in_secrets_and_nowhere_else(near: list[Resource], far: list[Resource]) -> None:
    for resource in [*near, *far]:
        if recording.SECRET in json.dumps(resource.inputs):
            # A certificate is told the key of who signs it.
            held = resource.inputs["authority" if resource.kind == "Certificate" else "stringData"]
            assert resource.kind in ("Certificate", "Secret"), resource.name
            assert recording.is_secret(held) or recording.is_secret(held["private_key"]), resource.name


def test_all_certificates_are_of_the_views_own_authority(near: list[Resource]) -> None:
    made = {one.name: one.inputs["authority"] for one in near if one.kind == "Certificate"}
    assert made.keys() == {names.VIEW, f"{names.VIEW}-near", f"{names.VIEW}-far"}
    assert {json.dumps(one, sort_keys=True).count("prometheus-view") for one in made.values()} == {2}


def test_the_far_site_gets_the_key_that_the_view_knows() -> None:
    found = [one for one in program.of("hybrid").resources if (one.kind, one.name) == ("Secret", sending.SECRET)]
    keys = {one.options.provider: one.inputs["stringData"]["value"] for one in found}
    assert keys["onprem"]["tls.key"].endswith("prometheus-view-near")
    assert keys["cloud"]["tls.key"].endswith("prometheus-view-far")
    assert keys["cloud"]["ca.crt"] == f"certificate of {names.VIEW}"


def test_policies_let_through_both_sites_and_nobody_else(near: list[Resource], far: list[Resource]) -> None:
    def policy(resources: list[Resource], app: str) -> dict[str, Any]:
        return spec(resources, "NetworkPolicy", f"monitoring-{app}")

    (own,) = policy(near, names.VIEW)["ingress"]
    assert own == {
        "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}}],
        "ports": [{"port": 9443, "protocol": "TCP"}],
    }
    (outside,) = policy(near, f"{names.VIEW}-published")["ingress"]
    assert {peer["ipBlock"]["cidr"] for peer in outside["from"]} == {"10.90.0.0/24", "10.244.0.0/16"}
    to_view = json.dumps({"podSelector": {"matchLabels": {"app.kubernetes.io/name": names.VIEW}}}, sort_keys=True)
    assert peers(policy(near, "prometheus")["egress"], "to")[to_view] == {9443}
    there = json.dumps({"ipBlock": {"cidr": "10.90.0.101/32"}}, sort_keys=True)
    assert peers(policy(far, "prometheus")["egress"], "to")[there] == {naming.VIEW.port}
    (alerts,) = policy(near, "alertmanager")["ingress"]
    assert names.VIEW in json.dumps(alerts["from"])
    assert names.VIEW not in json.dumps(policy(far, "alertmanager"))


def test_it_sees_the_pods_of_its_namespace_and_nothing_else(near: list[Resource]) -> None:
    (role,) = [one for one in near if one.kind in ("Role", "ClusterRole") and one.name == names.VIEW]
    assert (role.kind, role.inputs["metadata"]["namespace"]) == ("Role", names.NAMESPACE)
    assert [(one["resources"], one["verbs"]) for one in role.inputs["rules"]] == [(["pods"], ["list", "watch"])]
    (own,) = file(near, f"{names.VIEW}-config", "prometheus.yml")["alerting"]["alertmanagers"]
    assert own["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": [names.NAMESPACE]}}]


def test_the_sites_own_prometheus_reaches_it_without_names(near: list[Resource]) -> None:
    address = spec(near, "Service", names.VIEW)["clusterIP"]
    (write,) = file(near, "prometheus-config", "prometheus.yml")["remote_write"]
    assert write["url"] == f"https://{address}:9443/api/v1/write"
    taken = [one for one in program.of("hybrid").resources if one.kind == "Service"]
    fixed = [(one.options.provider, one.inputs["spec"].get("clusterIP")) for one in taken]
    assert fixed.count(("onprem", address)) == 1


# --- what is sent, and what is made of it


@pytest.mark.parametrize("name", sorted({"up", "ALERTS", "isthmus_ready", "site:inference_errors:ratio_rate5m"}))
def test_what_shows_how_a_site_is_is_sent(name: str) -> None:
    assert re.fullmatch(sending.KEPT, name)


@pytest.mark.parametrize(
    "name", ["container_cpu_usage_seconds_total", "apiserver_request_total", "node_load1", "upper"]
)
def test_what_is_large_is_not(name: str) -> None:
    assert not re.fullmatch(sending.KEPT, name)


def test_what_the_views_rules_use_is_sent() -> None:
    rules = linked.of_view(far_site="cloud")["view.yaml"]
    used = set(re.findall(r"\b(up|isthmus_\w+)\b", rules))
    assert used == {"up", "isthmus_model_served"}
    assert all(re.fullmatch(sending.KEPT, name) for name in used)


def test_samples_are_told_apart_and_alerts_of_replicas_are_not(near: list[Resource]) -> None:
    config = file(near, "prometheus-config", "prometheus.yml")
    assert config["global"]["external_labels"] == {"cluster": "onprem", "prometheus_replica": "${POD_NAME}"}
    assert [one["name"] for one in container(near, "prometheus")["env"]] == ["POD_NAME"]
    assert config["alerting"]["alert_relabel_configs"] == [{"regex": "prometheus_replica", "action": "labeldrop"}]


def test_it_takes_what_is_late_for_longer_than_senders_keep_it(near: list[Resource]) -> None:
    tsdb = file(near, f"{names.VIEW}-config", "prometheus.yml")["storage"]["tsdb"]
    assert tsdb["out_of_order_time_window"] == "3h"
    assert tsdb["retention"].keys() == {"size"}


def test_the_site_that_it_is_on_reads_the_view_like_all_else(near: list[Resource], far: list[Resource]) -> None:
    def jobs(resources: list[Resource]) -> dict[str, Any]:
        config = file(resources, "prometheus-config", "prometheus.yml")
        return {job["job_name"]: job for job in config["scrape_configs"]}

    assert jobs(near).keys() - jobs(far).keys() == {"view"}
    own = jobs(near)["view"]
    assert (own["scheme"], own["tls_config"]) == ("https", sending.tls())


def test_each_site_judges_what_it_sends_and_the_view_both(near: list[Resource], far: list[Resource]) -> None:
    for resources in (near, far):
        rules = recording.the(resources, "ConfigMap", "prometheus-rules").inputs["data"]
        assert "sending.yaml" in rules and "view.yaml" not in rules
    own = recording.the(near, "ConfigMap", f"{names.VIEW}-rules").inputs["data"]
    assert own.keys() == {"view.yaml", linked.SITES_FILE}
