"""What holds for everything that the platform starts."""

from __future__ import annotations

import json

from tests.infra import recording
from tests.infra.recording import Resource


def test_every_container_is_bounded(platform: list[Resource]) -> None:
    for label, _, container in recording.containers(platform):
        for bound in ("requests", "limits"):
            assert container["resources"][bound].keys() == {"cpu", "memory"}, f"{label} has no {bound}"


def test_every_server_is_probed(platform: list[Resource]) -> None:
    for resource in platform:
        if resource.pod and resource.kind != "Job":
            for container in resource.pod["containers"]:
                assert {"readinessProbe", "livenessProbe"} <= container.keys(), f"{resource.name} is not probed"


def test_no_container_is_root_or_can_become_it_or_write_to_its_image(platform: list[Resource]) -> None:
    for label, pod, container in recording.containers(platform):
        assert pod["securityContext"]["runAsNonRoot"] is True, label
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, label
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True, label
        assert context["allowPrivilegeEscalation"] is False, label
        assert context["capabilities"] == {"drop": ["ALL"]}, label


def test_every_image_is_pinned_by_digest(platform: list[Resource]) -> None:
    for label, _, container in recording.containers(platform):
        assert "@sha256:" in container["image"], f"{label} runs {container['image']}"


def test_nothing_but_dns_holds_a_key_to_the_api(platform: list[Resource]) -> None:
    holders = [one.name for one in platform if one.pod and one.pod.get("automountServiceAccountToken") is not False]
    assert holders == ["coredns"]


def test_no_secret_is_registered_in_plain(platform: list[Resource]) -> None:
    for resource in platform:
        if resource.kind != "Secret":
            assert recording.SECRET not in json.dumps(resource.inputs), f"{resource.kind} {resource.name}"
        else:
            assert recording.is_secret(resource.inputs["stringData"]), f"{resource.name} is not marked as a secret"


def test_namespaces_refuse_harmful_pods_and_deny_all_traffic(platform: list[Resource]) -> None:
    namespaces = [one.name for one in platform if one.kind == "Namespace"]
    assert namespaces == ["object-store"]
    for name in namespaces:
        labels = recording.the(platform, "Namespace", name).inputs["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        deny = recording.the(platform, "NetworkPolicy", f"{name}-deny-all").inputs["spec"]
        assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_dns_is_where_kubelets_send_pods_to(platform: list[Resource]) -> None:
    service = recording.the(platform, "Service", "kube-dns").inputs["spec"]
    assert service["clusterIP"] == "10.96.0.10"
    deployment = recording.the(platform, "Deployment", "coredns").inputs["spec"]
    assert service["selector"].items() <= deployment["template"]["metadata"]["labels"].items()
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "DoNotSchedule", "both replicas may start on the first host"
