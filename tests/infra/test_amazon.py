"""The cloud site where Amazon runs it: the same platform and workloads on EKS, from environments/prod.yaml."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from infra import environment
from infra.cloud import images
from tests.infra import program, recording
from tests.infra.manifests import rendered, rules
from tests.infra.recording import Resource

REGISTRY = "444455556666.dkr.ecr.eu-central-1.amazonaws.com/prod-cloud"


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return program.of("prod").resources


def inside(resources: list[Resource]) -> list[Resource]:
    """What is in the cluster at Amazon."""
    return [one for one in resources if one.type.startswith("kubernetes:") and one.options.provider == "cloud"]


def the(resources: list[Resource], kind: str, name: str) -> Resource:
    return recording.the(inside(resources), kind, name)


def variables(resource: Resource) -> dict[str, str]:
    assert resource.pod
    (container,) = resource.pod["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def test_it_gets_the_platform_and_the_workloads_of_any_site(resources: list[Resource]) -> None:
    started = {one.name for one in inside(resources) if one.pod}
    assert started == {
        *("device-plugin-nvidia", "inference", "replication", "backup", "status"),
        *("prometheus", "alertmanager", "node-exporter", "kube-state-metrics", "grafana"),
    }, "Cilium's own, which come from the chart, aside"
    namespaces = {one.name for one in inside(resources) if one.kind == "Namespace"}
    assert {"workloads", "monitoring", "status", "accelerators"} <= namespaces
    closed = {one.inputs["metadata"]["namespace"] for one in inside(resources) if one.name.endswith("-deny-all")}
    assert {*namespaces, "default", "kube-public", "kube-node-lease"} == closed
    assert {one.name for one in inside(resources) if one.kind == "PriorityClass"}


def test_what_is_an_add_on_is_not_made_a_second_time(resources: list[Resource]) -> None:
    addons = {one.inputs["addonName"] for one in resources if one.kind == "Addon"}
    assert {"coredns", "metrics-server", "aws-ebs-csi-driver"} <= addons
    assert not [one.name for one in inside(resources) if one.name in ("coredns", "kube-dns", "metrics-server")]
    assert not [one for one in inside(resources) if one.kind == "CustomResourceDefinition"], "no snapshots there"


def test_each_image_is_in_a_repository_of_its_own_before_a_pod_asks_for_it(resources: list[Resource]) -> None:
    """Under the mirror's digest: what was reviewed is what runs."""
    copied = {one.name: one.inputs for one in resources if one.type == "isthmus:registry:Image"}
    for name, one in copied.items():
        assert one["reference"].startswith(f"{REGISTRY}/{name}:v1-0000")
        assert one["repository"] == f"registry.example/{name}", "AWS has made it by then"
    asked = {
        container["image"] for pod in rules.pods(rendered.manifests(resources, "cloud")) for container in pod.containers
    }
    assert asked == {
        f"{one['reference']}@{one['digest']}" for name, one in copied.items() if name not in images.NETWORK
    }, "Cilium's own, which come from the chart, aside"
    platform, workloads = waiting(resources, "Platform"), waiting(resources, "Workloads")
    assert {*images.NETWORK, "prometheus", "nvidia-device-plugin", "status"} <= platform
    assert {"inference", "replication"} <= workloads
    assert copied.keys() <= {one.name for one in resources if one.kind == "Repository"}


def waiting(resources: list[Resource], component: str) -> frozenset[str]:
    """What a component of the cloud half waits for."""
    (found,) = [one for one in resources if one.kind == component and one.options.parent == "cloud"]
    return found.options.depends_on


def test_the_network_comes_beside_the_nodes_which_are_ready_only_with_it(resources: list[Resource]) -> None:
    groups = {one.name for one in resources if one.kind == "NodeGroup"}
    provider = recording.the(
        [one for one in resources if one.type == "pulumi:providers:kubernetes"], "kubernetes", "cloud"
    )
    assert not groups & (waiting(resources, "Platform") | provider.options.depends_on)
    for one in resources:
        if one.kind == "NodeGroup":
            assert not one.options.depends_on & {"cilium", "platform"}


@pytest.mark.parametrize(("name", "private"), [("prod", True), ("staging", False)])
def test_the_api_is_used_once_the_team_may_and_where_it_is_private_through_the_link(name: str, private: bool) -> None:
    (provider,) = [
        one for one in program.of(name).resources if one.type == "pulumi:providers:kubernetes" and one.name == "cloud"
    ]
    assert "administrator-platform-team" in provider.options.depends_on
    assert ("link" in provider.options.depends_on) is private


@pytest.mark.parametrize(("name", "private"), [("prod", True), ("staging", False), ("hybrid", False)])
def test_nodes_wait_for_the_link_where_cilium_comes_to_them_through_it(name: str, private: bool) -> None:
    """Without Cilium a group gives up after some twenty minutes."""
    resources = program.of(name).resources
    groups = [one for one in resources if one.kind == "NodeGroup"]
    assert groups
    assert {"link" in one.options.depends_on for one in groups} == {private}
    (playbook,) = [one for one in resources if one.kind == "Playbook" and one.name == "link"]
    assert not playbook.options.depends_on & {one.name for one in groups}


def test_models_are_in_the_bucket_that_pods_open_by_who_they_are(resources: list[Resource]) -> None:
    found = variables(the(resources, "Deployment", "inference"))
    assert (found["ISTHMUS_S3_REGION"], found["ISTHMUS_S3_BUCKET"]) == ("eu-central-1", "models")
    assert not {"ISTHMUS_S3_ENDPOINT", "ISTHMUS_S3_CREDENTIALS_DIR"} & found.keys()
    bound = {one.inputs["serviceAccount"] for one in resources if one.kind == "PodIdentityAssociation"}
    assert {"inference", "replication", "backup"} <= bound
    assert {"inference", "replication", "backup", "training"} <= waiting(resources, "Workloads"), (
        "else pods start without it"
    )


def test_replication_opens_one_store_with_the_sites_key_and_the_other_by_who_it_is(resources: list[Resource]) -> None:
    found = variables(the(resources, "Deployment", "replication"))
    assert found["ISTHMUS_SOURCE_ENDPOINT"] == "http://10.20.0.101:3900"
    assert found["ISTHMUS_SOURCE_CREDENTIALS_DIR"] == "/var/run/secrets/onprem-object-store-credentials"
    assert (found["ISTHMUS_DESTINATION_BUCKET"], found["ISTHMUS_DESTINATION_REGION"]) == ("models", "eu-central-1")
    assert not {"ISTHMUS_DESTINATION_ENDPOINT", "ISTHMUS_DESTINATION_CREDENTIALS_DIR"} & found.keys()
    secrets = {one.inputs["metadata"]["name"] for one in inside(resources) if one.kind == "Secret"}
    joined = {one for one in secrets if "clustermesh" in one}
    assert secrets - joined == {
        *("onprem-object-store-credentials", "onprem-backups-credentials"),
        *("alertmanager-receivers", "prometheus-view", "grafana"),
    }, "no key of AWS's is anywhere"


def test_backups_come_from_the_sites_store_and_go_where_the_pods_role_may_write(resources: list[Resource]) -> None:
    found = variables(the(resources, "Deployment", "backup"))
    assert found["ISTHMUS_SOURCE_ENDPOINT"] == "http://10.20.0.101:3900"
    assert found["ISTHMUS_SOURCE_CREDENTIALS_DIR"] == "/var/run/secrets/onprem-backups-credentials"
    assert (found["ISTHMUS_DESTINATION_BUCKET"], found["ISTHMUS_DESTINATION_REGION"]) == ("backups", "eu-central-1")
    assert not {"ISTHMUS_DESTINATION_ENDPOINT", "ISTHMUS_DESTINATION_CREDENTIALS_DIR"} & found.keys()
    assert len(found["ISTHMUS_BACKUPS_OF"].split(",")) == 5, "every control plane's"


def egress(resources: list[Resource], name: str) -> list[tuple[list[str], list[int]]]:
    """(ranges, ports) of the rules that name ranges."""
    rules_ = the(resources, "NetworkPolicy", name).inputs["spec"]["egress"]
    return [
        ([peer["ipBlock"]["cidr"] for peer in rule["to"]], [port["port"] for port in rule["ports"]])
        for rule in rules_
        if all("ipBlock" in peer for peer in rule["to"])
    ]


def test_workloads_reach_the_agent_that_gives_keys_and_s3_and_no_private_address_by_it(
    resources: list[Resource],
) -> None:
    s3 = [(["169.254.170.23/32"], [80]), (["0.0.0.0/0"], [443])]
    assert egress(resources, "workloads-inference") == s3
    assert sorted(egress(resources, "workloads-replication")) == sorted([*s3, (["10.20.0.101/32"], [3900])])
    for rule in the(resources, "NetworkPolicy", "workloads-inference").inputs["spec"]["egress"]:
        for peer in rule["to"]:
            if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(peer["ipBlock"]["except"])


def test_api_servers_are_asked_at_amazons_port(resources: list[Resource]) -> None:
    assert (["10.32.0.0/16"], [443]) in egress(resources, "monitoring-kube-state-metrics")
    assert (["10.32.0.0/16"], [443]) in egress(resources, "status-status")
    assert (["10.32.0.0/16"], [443, 10250, 9100, 9962, 9965]) in egress(resources, "monitoring-prometheus")


def test_samples_go_through_the_link_to_the_view_as_models_do(resources: list[Resource]) -> None:
    assert (["10.20.0.101/32"], [9443]) in egress(resources, "monitoring-prometheus")
    config = next(one for one in inside(resources) if (one.kind, one.name) == ("ConfigMap", "prometheus-config"))
    assert "url: https://10.20.0.101:9443/api/v1/write\n" in config.inputs["data"]["prometheus.yml"]


@pytest.mark.parametrize(
    ("name", "policy", "port", "hosts"),
    [
        # Any host answers, because the pods may be the other site's, whose hosts hand on too.
        ("inference", "workloads-inference", {"port": 80, "targetPort": 8080}, "Cluster"),
        ("status-published", "status-status-published", {"port": 8080, "targetPort": 8080}, "Local"),
    ],
)
def test_what_is_served_has_a_load_balancer_inside_the_vpc_for_it_and_the_site(
    resources: list[Resource], name: str, policy: str, port: dict[str, int], hosts: str
) -> None:
    service = the(resources, "Service", name).inputs
    annotations = {
        "service.beta.kubernetes.io/aws-load-balancer-type": "nlb",
        "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
    }
    assert annotations.items() <= service["metadata"]["annotations"].items()
    spec = service["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("LoadBalancer", hosts)
    assert port.items() <= spec["ports"][0].items()
    # The client's own address comes along: who may ask the balancer is who may ask the pods.
    senders = ["10.32.0.0/16", "10.72.0.0/14", "10.20.0.0/24"]
    assert spec["loadBalancerSourceRanges"] == ["10.32.0.0/16", "10.20.0.0/24"]
    (rule,) = the(resources, "NetworkPolicy", policy).inputs["spec"]["ingress"]
    found = [peer["ipBlock"]["cidr"] for peer in rule["from"] if "ipBlock" in peer]
    assert found == [*senders, *(["10.20.0.0/24", "10.64.0.0/14"] if hosts == "Cluster" else [])]


def test_its_history_is_on_a_disk_of_amazons(resources: list[Resource]) -> None:
    (claim,) = the(resources, "StatefulSet", "prometheus").inputs["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["storageClassName"] == "isthmus"


def test_its_page_shows_the_on_prem_site(resources: list[Resource]) -> None:
    assert variables(the(resources, "Deployment", "status"))["ISTHMUS_PEER_URL"] == "http://10.20.0.101:8080"


def test_the_add_on_of_metrics_is_where_amazons_api_servers_reach_it(resources: list[Resource]) -> None:
    settings = recording.the(resources, "Addon", "metrics-server").inputs["configurationValues"]
    assert json.loads(settings) == {"hostNetwork": {"enabled": True}}
    assert "configurationValues" not in recording.the(resources, "Addon", "coredns").inputs


def test_it_scales_by_cpu_where_nobody_tells_the_requests(resources: list[Resource]) -> None:
    (metric,) = the(resources, "HorizontalPodAutoscaler", "inference").inputs["spec"]["metrics"]
    assert metric["resource"]["name"] == "cpu"
    assert not [one for one in inside(resources) if "prometheus-adapter" in one.name]
    onprem = [one for one in resources if one.type.startswith("kubernetes:") and one.options.provider == "onprem"]
    there = recording.the(onprem, "HorizontalPodAutoscaler", "inference").inputs["spec"]["metrics"]
    assert [one["type"] for one in there] == ["Resource", "Pods"]
    assert recording.the(onprem, "DaemonSet", "prometheus-adapter")


def test_a_first_preview_shows_every_object_though_nobody_knows_the_cluster_yet() -> None:
    for name in ("prod", "staging"):
        made, previewed = program.of(name), program.of(name, preview=True)
        assert {one.urn for one in previewed.resources} == {one.urn for one in made.resources}
        assert previewed.exports.keys() == made.exports.keys()


def test_the_outputs_say_where_it_is() -> None:
    exported = program.of("prod").exports
    assert {"cloud_kubeconfig", "cloud_api_endpoint", "cloud_ingress_url"} <= exported.keys()


@pytest.mark.parametrize("name", ["prod", "hybrid"])
def test_issuer_and_node_role_are_told_alike_of_amazon_and_of_a_lab(name: str) -> None:
    exported: dict[str, Any] = program.of(name).exports
    assert asyncio.run(exported["cloud_oidc_issuer"].future()) == "https://eks.example/issuer"
    assert asyncio.run(exported["cloud_node_role"].future()) == "arn:aws:::node"


@pytest.fixture(scope="module")
def training_there(tmp_path_factory: pytest.TempPathFactory) -> list[Resource]:
    path = tmp_path_factory.mktemp("there") / "prod.yaml"
    text = program.file("prod").read_text()
    path.write_text(text.replace("    site: onprem\n", "    site: cloud\n"))
    assert environment.load(path).workloads.training.site == "cloud"
    return program.run(path).resources


def test_training_there_publishes_to_the_bucket_and_the_site_gets_a_copy(training_there: list[Resource]) -> None:
    (job,) = [one for one in training_there if one.kind == "Job" and one.name == "training"]
    assert job.options.provider == "cloud"
    assert job.pod and job.pod["containers"][0]["image"].startswith(f"{REGISTRY}/training:")
    found = variables(job)
    assert found["ISTHMUS_S3_BUCKET"] == "models"
    assert not {"ISTHMUS_S3_ENDPOINT", "ISTHMUS_S3_CREDENTIALS_DIR"} & found.keys()
    copies = variables(the(training_there, "Deployment", "replication"))
    assert copies["ISTHMUS_DESTINATION_ENDPOINT"] == "http://10.20.0.101:3900"
    assert copies["ISTHMUS_SOURCE_BUCKET"] == "models"
    assert "ISTHMUS_SOURCE_ENDPOINT" not in copies
    assert "training" in {one.name for one in training_there if one.type == "isthmus:registry:Image"}


def test_without_monitoring_page_and_accelerators_their_images_stay_here_and_their_repositories_there(
    tmp_path: Path,
) -> None:
    path = tmp_path / "prod.yaml"
    text = program.file("prod").read_text()
    start, end = text.index("  accelerators: # devices"), text.index("\nworkloads:")
    lines = (text[:start] + text[end:]).splitlines(keepends=True)
    needs_it = ("max_model_age_days", "target_requests_per_second")
    path.write_text("".join(line for line in lines if not any(key in line for key in needs_it)))
    resources = program.run(path).resources
    copied = {one.name for one in resources if one.type == "isthmus:registry:Image"}
    assert copied == {*images.NETWORK, "inference", "replication"}
    made = {one.name for one in resources if one.kind == "Repository" and one.type.startswith("aws:")}
    assert made == {*images.PLATFORM, "inference", "replication", "training"}, "what is not empty cannot be deleted"
    assert {one.name for one in inside(resources) if one.pod} == {"inference", "replication", "backup"}


def test_the_index_there_differs_in_names_alone() -> None:
    prod: Any = environment.load(program.file("prod"))
    mirror = recording.index()
    there = images.index(prod.cloud, mirror)
    for name, one in mirror.artifacts.items():
        other = there.artifact(name)
        assert other.digest == one.digest
        assert (other == one) is (one.kind != "image")
    assert len({one.image for one in there.artifacts.values() if one.kind == "image"}) == len(
        [one for one in mirror.artifacts.values() if one.kind == "image"]
    )
