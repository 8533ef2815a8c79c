"""Training and inference as they are registered."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import pytest

from infra import naming
from infra.environment import Environment
from infra.platform import Platform, PlatformArgs, cilium, cluster, pods
from infra.platform.credentials import Keys
from infra.workloads import Copies, Workloads, WorkloadsArgs, model_store
from infra.workloads.model_store import ModelStore
from tests.infra import recording
from tests.infra.recording import Resource


def elsewhere(keys: Keys) -> ModelStore:
    return model_store.garage_from_outside(keys, IPv4Address("10.90.0.101"))


def workloads_of(environment: Environment, trains: bool = True, **images: Any) -> list[Resource]:
    index = recording.index(**images)

    def program() -> None:
        args = PlatformArgs(
            cluster=cluster.of_hosts(environment.onprem),
            kubernetes_version=environment.kubernetes.version,
            object_store=environment.platform.object_store,
            index=index,
        )
        platform = Platform("platform", args)
        assert platform.object_store is not None
        own = model_store.garage(platform.object_store.keys)
        workloads = WorkloadsArgs(
            settings=environment.workloads,
            index=index,
            platform=platform,
            store=own,
            trains=trains,
            copies=None if trains else Copies(source=elsewhere(platform.object_store.keys), destination=own),
        )
        Workloads("workloads", workloads)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cilium, "objects", lambda *_: [])
        return recording.record(program)


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return workloads_of(recording.local())


@pytest.mark.parametrize(("kind", "name"), [("Job", "training"), ("Deployment", "inference")])
def test_a_workload_is_confined_bounded_and_pinned(resources: list[Resource], kind: str, name: str) -> None:
    pod = recording.the(resources, kind, name).pod
    assert pod is not None
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["resources"].keys() == {"requests", "limits"}
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


def test_bad_data_fails_a_run_at_once_and_a_lost_host_does_not(resources: list[Resource]) -> None:
    rules = recording.the(resources, "Job", "training").inputs["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailJob"]
    assert rules[0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert 3 in rules[1]["onExitCodes"]["values"]


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
    (fewer,) = pods.apart("inference", replicas=2, hosts=1)
    assert fewer["node_taints_policy"] == "Honor", "else the second would wait for a host that takes no pod"


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
