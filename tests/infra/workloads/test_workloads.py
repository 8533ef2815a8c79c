"""Training and inference as they are registered."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from infra import naming, nodes
from infra.environment import Environment
from infra.platform import Platform, PlatformArgs, cilium, cluster, pods
from infra.platform.credentials import Credentials, Keys
from infra.workloads import Workloads, WorkloadsArgs, model_store, replication
from infra.workloads.model_store import ModelStore
from ops.up import load
from tests.infra import recording
from tests.infra.recording import Resource


def elsewhere(keys: Keys) -> ModelStore:
    return model_store.garage_from_outside(keys, IPv4Address("10.90.0.101"))


def workloads_of(environment: Environment, trains: bool = True, watched: bool = False, **images: Any) -> list[Resource]:
    index = recording.index(**images)

    def program() -> None:
        keys = Credentials("object-store").keys
        args = PlatformArgs(
            cluster=cluster.of_hosts(environment.onprem),
            kubernetes_version=environment.kubernetes.version,
            storage=None,
            object_store=environment.platform.object_store,
            keys=keys,
            index=index,
            accelerators=nodes.offers(environment, "onprem"),
            monitoring=environment.platform.monitoring if watched else None,
        )
        platform = Platform("platform", args)
        own = model_store.garage(keys)
        champion = replication.champion(environment.workloads.inference)
        workloads = WorkloadsArgs(
            settings=environment.workloads,
            index=index,
            platform=platform,
            store=own,
            trains=trains,
            copies=[] if trains else [replication.Copies(work=champion, source=elsewhere(keys), destination=own)],
        )
        Workloads("workloads", workloads)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cilium, "objects", lambda *_: [])
        return recording.record(program)


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return workloads_of(recording.local())


@pytest.mark.parametrize(("kind", "name"), [("Job", "training"), ("Deployment", "inference")])
def test_a_workload_runs_the_image_of_its_name(resources: list[Resource], kind: str, name: str) -> None:
    pod = recording.the(resources, kind, name).pod
    assert pod is not None
    (container,) = pod["containers"]
    assert container["image"] == f"registry.example/{name}:v1@sha256:{'0' * 64}"


@pytest.mark.parametrize(("kind", "name"), [("Job", "training"), ("Deployment", "inference")])
def test_the_key_is_a_file_and_never_a_variable(resources: list[Resource], kind: str, name: str) -> None:
    pod = recording.the(resources, kind, name).pod
    assert pod is not None
    assert recording.SECRET not in json.dumps(pod)
    (container,) = pod["containers"]
    settings = {one["name"]: one["value"] for one in container["env"]}
    mount = next(one for one in container["volumeMounts"] if "object-store" in one["name"])
    assert settings["ISTHMUS_S3_CREDENTIALS_DIR"] == mount["mountPath"]
    secret = recording.the(resources, "Secret", "workloads-object-store-credentials").inputs
    assert secret["metadata"]["namespace"] == "workloads"
    assert recording.is_secret(secret["stringData"])


def test_training_runs_again_only_when_its_image_or_a_setting_changes() -> None:
    def run(environment: Environment, **images: Any) -> str:
        return recording.the(workloads_of(environment, **images), "Job", "training").inputs["metadata"]["name"]

    local = recording.local()
    first = run(local)
    assert first == run(local)
    settings = local.workloads.training.model_copy(update={"threshold": 0.5})
    changed = local.model_copy(update={"workloads": local.workloads.model_copy(update={"training": settings})})
    assert first != run(changed)
    assert first != run(local, training=recording.image("registry.example/training:v1", "1"))
    assert first == run(local, inference=recording.image("registry.example/inference:v1", "1"))


def test_a_run_on_a_lost_host_starts_anew_elsewhere_without_waiting_for_that_host(resources: list[Resource]) -> None:
    spec = recording.the(resources, "Job", "training").inputs["spec"]
    assert spec["podReplacementPolicy"] == "TerminatingOrFailed"
    assert "podFailurePolicy" not in spec, "with one a pod is replaced only when its host says that it ended"
    assert 1 <= spec["backoffLimit"] <= 3


def test_inference_is_on_different_hosts_and_stays_while_it_is_replaced(resources: list[Resource]) -> None:
    spec = recording.the(resources, "Deployment", "inference").inputs["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["whenUnsatisfiable"] == "DoNotSchedule"
    assert spread["matchLabelKeys"] == ["pod-template-hash"], "a rollout would need as many spare hosts as replicas"
    assert recording.the(resources, "PodDisruptionBudget", "inference").inputs["spec"]["maxUnavailable"] == 1


def test_replicas_wait_for_a_host_of_their_own_only_where_there_are_enough(resources: list[Resource]) -> None:
    spread = recording.the(resources, "Deployment", "inference").inputs["spec"]["template"]["spec"]
    assert spread["topologySpreadConstraints"][0]["nodeTaintsPolicy"] == "Ignore", "else two faults bring them together"
    site = cluster.of_hosts(recording.local().onprem)
    (fewer,) = pods.apart("inference", replicas=2, cluster=replace(site, workers=site.workers[:1]))
    assert fewer["node_taints_policy"] == "Honor", "else the second would wait for a host that takes no pod"


def test_nodes_that_keep_pods_away_for_good_are_waited_for_by_nobody() -> None:
    prod = load("prod")
    assert prod.cloud
    for site in (cluster.of_hosts(prod.onprem), cluster.of_eks(prod.cloud, prod.onprem.network.cidr, "api")):
        assert len(site.workers) >= 2
        (spread,) = pods.apart("inference", replicas=2, cluster=site)
        assert spread["node_taints_policy"] == "Honor", "no node would get a second replica before each had one"


def fixed() -> Environment:
    """The environment without autoscaling."""
    local = recording.local()
    inference = local.workloads.inference.model_copy(update={"autoscaling": None})
    return local.model_copy(update={"workloads": local.workloads.model_copy(update={"inference": inference})})


def scaled(**targets: Any) -> Environment:
    """The environment with these targets."""
    local = recording.local()
    assert local.workloads.inference.autoscaling
    none = {"target_cpu": None, "target_requests_per_second": None}
    autoscaling = local.workloads.inference.autoscaling.model_copy(update=none | targets)
    inference = local.workloads.inference.model_copy(update={"autoscaling": autoscaling})
    return local.model_copy(update={"workloads": local.workloads.model_copy(update={"inference": inference})})


def metrics(resources: list[Resource]) -> list[dict[str, Any]]:
    return recording.the(resources, "HorizontalPodAutoscaler", "inference").inputs["spec"]["metrics"]


BY_CPU = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "150m"}},
}


def by_requests(average: str) -> dict[str, Any]:
    target = {"type": "AverageValue", "averageValue": average}
    return {"type": "Pods", "pods": {"metric": {"name": "inference_requests_per_second"}, "target": target}}


def test_the_autoscaler_keeps_the_number_between_least_and_most(resources: list[Resource]) -> None:
    scaler = recording.the(resources, "HorizontalPodAutoscaler", "inference")
    spec = scaler.inputs["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 4)
    deployment = recording.the(resources, "Deployment", "inference").inputs
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment["metadata"]["name"]}
    assert spec["scaleTargetRef"] == target
    assert scaler.inputs["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    assert spec["metrics"] == [BY_CPU, by_requests("60")]


def test_it_goes_by_the_targets_that_the_file_has() -> None:
    assert metrics(workloads_of(scaled(target_cpu="150m"))) == [BY_CPU]
    assert metrics(workloads_of(scaled(target_requests_per_second=2.5))) == [by_requests("2500m")]


def test_more_replicas_come_at_once_and_go_when_fewer_were_enough_for_a_while(resources: list[Resource]) -> None:
    behavior = recording.the(resources, "HorizontalPodAutoscaler", "inference").inputs["spec"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 60
    assert [one["value"] for way in ("scaleUp", "scaleDown") for one in behavior[way]["policies"]] == [100, 50]


def test_the_number_is_the_autoscalers_alone_once_the_deployment_stands(resources: list[Resource]) -> None:
    deployment = recording.the(resources, "Deployment", "inference")
    assert deployment.options.ignores == ("spec.replicas",)
    assert deployment.inputs["spec"]["replicas"] == 2, "else it begins with one, and an upgrade falls back to one"
    assert "pulumi.com/patchForce" not in deployment.inputs["metadata"].get("annotations", {})


def test_without_autoscaling_the_number_is_the_files_whoever_set_it_before() -> None:
    resources = workloads_of(fixed())
    assert not [one for one in resources if one.kind == "HorizontalPodAutoscaler"]
    deployment = recording.the(resources, "Deployment", "inference")
    assert deployment.options.ignores == ()
    assert deployment.inputs["metadata"]["annotations"] == {"pulumi.com/patchForce": "true"}


def test_load_balancers_can_name_each_pod(resources: list[Resource]) -> None:
    service = recording.the(resources, "Service", "inference-pods").inputs
    assert service["spec"]["clusterIP"] == "None"
    name, port = naming.INGRESS_PODS_NAME.split(":")
    assert name.startswith(f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.")
    assert service["spec"]["ports"][0]["port"] == int(port)


def test_inference_is_probed_at_the_path_that_the_load_balancers_ask(resources: list[Resource]) -> None:
    pod = recording.the(resources, "Deployment", "inference").pod
    assert pod is not None
    (container,) = pod["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    assert "startupProbe" in container


def test_a_host_answers_on_the_ingress_port_for_its_own_pods_alone(resources: list[Resource]) -> None:
    spec = recording.the(resources, "Service", "inference").inputs["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("NodePort", "Local")
    assert spec["ports"][0]["nodePort"] == 30080


def test_workloads_talk_to_dns_and_the_store_alone(resources: list[Resource]) -> None:
    recording.the(resources, "NetworkPolicy", "workloads-deny-all")
    for name in ("training", "inference"):
        spec = recording.the(resources, "NetworkPolicy", f"workloads-{name}").inputs["spec"]
        assert [port["port"] for rule in spec["egress"] for port in rule["ports"]] == [53, 53, 3900]


def test_only_the_load_balancers_reach_inference_and_nobody_reaches_training(resources: list[Resource]) -> None:
    ingress = recording.the(resources, "NetworkPolicy", "workloads-inference").inputs["spec"]["ingress"]
    hosts = [{"ipBlock": {"cidr": "10.90.0.0/24"}}, {"ipBlock": {"cidr": "10.244.0.0/16"}}]
    assert ingress == [{"from": hosts, "ports": [{"port": 8080, "protocol": "TCP"}]}]
    assert recording.the(resources, "NetworkPolicy", "workloads-training").inputs["spec"]["ingress"] == []


def test_where_somebody_watches_prometheus_alone_may_ask_too_at_the_port_of_the_metrics() -> None:
    watched = workloads_of(recording.local(), trains=False, watched=True)
    reader = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    }
    (inference,) = recording.the(watched, "NetworkPolicy", "workloads-inference").inputs["spec"]["ingress"]
    assert reader in inference["from"] and len(inference["from"]) == 3
    (replication,) = recording.the(watched, "NetworkPolicy", "workloads-replication").inputs["spec"]["ingress"]
    assert replication == {"from": [reader], "ports": [{"port": 8080, "protocol": "TCP"}]}
    apart = workloads_of(recording.local(), trains=False)
    assert recording.the(apart, "NetworkPolicy", "workloads-replication").inputs["spec"]["ingress"] == []
