"""What holds for everything that the platform registers; what holds for pods is in tests/infra/manifests."""

from __future__ import annotations

import json

from tests.infra import recording
from tests.infra.recording import Resource


def test_nothing_but_dns_metrics_the_status_page_and_drivers_of_volumes_and_devices_holds_a_key_to_the_api(
    platform: list[Resource],
) -> None:
    holders = {one.name for one in platform if one.pod and one.pod.get("automountServiceAccountToken") is not False}
    readers = {"coredns", "metrics-server", "prometheus-adapter", "prometheus", "kube-state-metrics", "status"}
    assert holders == readers | {"lab-csi-controller", "snapshot-controller", "device-plugin-simulated-dra"}


def test_no_secret_is_registered_in_plain(platform: list[Resource]) -> None:
    for resource in platform:
        if resource.kind != "Secret":
            assert recording.SECRET not in json.dumps(resource.inputs), f"{resource.kind} {resource.name}"
        else:
            assert recording.is_secret(resource.inputs["stringData"]), f"{resource.name} is not marked as a secret"


def test_namespaces_refuse_harmful_pods_and_deny_all_traffic(platform: list[Resource]) -> None:
    namespaces = [one.name for one in platform if one.kind == "Namespace"]
    part_of_hosts = {"storage", "monitoring-hosts", "accelerators"}
    assert set(namespaces) == {"object-store", "monitoring", "status"} | part_of_hosts
    for name in namespaces:
        labels = recording.the(platform, "Namespace", name).inputs["metadata"]["labels"]
        level = "privileged" if name in part_of_hosts else "restricted"
        assert labels["pod-security.kubernetes.io/enforce"] == level
        deny = recording.the(platform, "NetworkPolicy", f"{name}-deny-all").inputs["spec"]
        assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_namespaces_that_come_with_a_cluster_deny_all_traffic_too(platform: list[Resource]) -> None:
    for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
        deny = recording.the(platform, "NetworkPolicy", f"{name}-deny-all").inputs
        assert deny["metadata"]["namespace"] == name
        assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_dns_is_let_through_before_its_namespace_is_closed_and_asks_nobody_but_the_api(
    platform: list[Resource],
) -> None:
    assert "kube-system-coredns" in recording.the(platform, "NetworkPolicy", "kube-system-deny-all").options.depends_on
    allowed = recording.the(platform, "NetworkPolicy", "kube-system-coredns").inputs["spec"]
    assert allowed["podSelector"]["matchLabels"].items() <= labels(platform, "coredns").items()
    asked, read = allowed["ingress"]
    assert asked == {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    assert read["ports"] == [{"port": 9153, "protocol": "TCP"}] and len(read["from"]) == 1
    (api,) = allowed["egress"]
    assert api == {"to": [{"ipBlock": {"cidr": "10.90.0.0/24"}}], "ports": [{"port": 6443, "protocol": "TCP"}]}


def labels(platform: list[Resource], deployment: str) -> dict[str, str]:
    """Of a Deployment's pods."""
    pod = recording.the(platform, "Deployment", deployment).inputs["spec"]["template"]
    return dict(pod["metadata"]["labels"])


def test_dns_is_where_kubelets_send_pods_to(platform: list[Resource]) -> None:
    service = recording.the(platform, "Service", "kube-dns").inputs["spec"]
    assert service["clusterIP"] == "10.96.0.10"
    deployment = recording.the(platform, "Deployment", "coredns").inputs["spec"]
    assert service["selector"].items() <= deployment["template"]["metadata"]["labels"].items()
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "DoNotSchedule", "both replicas may start on the first host"
