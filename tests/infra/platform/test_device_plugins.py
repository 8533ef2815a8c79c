"""Device plugins as they are registered, for the lab and for hosts with GPUs."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from infra import environment, nodes
from infra.environment import Environment
from infra.paths import ROOT
from infra.platform import cluster, dra_driver
from infra.platform.device_plugins import DevicePlugins, DevicePluginsArgs
from tests.infra import recording
from tests.infra.recording import Resource


def registered(env: Environment, site: nodes.Site = "onprem") -> list[Resource]:
    facts = cluster.of_hosts(env.onprem)
    args = DevicePluginsArgs(cluster=facts, offers=nodes.offers(env, site), index=recording.index())
    return recording.record(lambda: DevicePlugins("device-plugins", args))


def of(name: str, **changes: Any) -> Environment:
    """environments/<name>.yaml with its first accelerator changed, and no other."""
    env = environment.load(ROOT / "environments" / f"{name}.yaml")
    accelerator = env.platform.accelerators[0]
    platform = env.platform.model_copy(update={"accelerators": (accelerator.model_copy(update=changes),)})
    return env.model_copy(update={"platform": platform})


def config(resources: list[Resource]) -> tuple[str, Any]:
    """Name and content of what NVIDIA's plugin reads."""
    made = recording.the(resources, "ConfigMap", "device-plugin-nvidia").inputs
    return made["metadata"]["name"], yaml.safe_load(made["data"]["config.yaml"])


@pytest.mark.parametrize(("name", "plugin"), [("local", "simulated"), ("prod", "nvidia"), ("staging", "nvidia")])
def test_a_plugin_runs_on_the_nodes_that_have_the_devices_and_nowhere_else(name: str, plugin: str) -> None:
    env = of(name)
    pod = recording.the(registered(env), "DaemonSet", f"device-plugin-{plugin}").pod
    assert pod is not None
    assert pod["nodeSelector"] == env.platform.accelerators[0].node_selector
    assert "/var/lib/kubelet/device-plugins" in [one["hostPath"]["path"] for one in pod["volumes"] if "hostPath" in one]


def test_a_plugin_tolerates_the_taints_of_its_nodes_alone() -> None:
    (toleration,) = _pod("prod")["tolerations"]
    assert toleration == {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}
    assert "tolerations" not in _pod("local")


def test_both_sites_have_the_same_plugin() -> None:
    hybrid = recording.hybrid()

    def shown(site: nodes.Site) -> dict[tuple[str, str], Any]:
        return {(one.kind, one.name): one.inputs for one in registered(hybrid, site)}

    assert shown("onprem") == shown("cloud")
    assert {"device-plugin-simulated", "device-plugin-simulated-dra"} <= {name for _, name in shown("cloud")}


def test_a_driver_of_claims_runs_where_the_devices_are_and_keeps_what_pods_have_over_a_reboot() -> None:
    env = recording.local()
    pod = _dra_pod()
    assert pod["nodeSelector"] == env.platform.accelerators[1].node_selector == {"accelerator": "simulated"}
    folders = {one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    assert folders == {"/var/lib/kubelet/plugins", "/var/lib/kubelet/plugins_registry", "/etc/cdi"}
    assert {one["hostPath"]["path"] for one in pod["volumes"]} == folders, "all of the host's, none of its memory"


def test_pods_ask_for_its_devices_as_for_any_and_kubernetes_makes_the_claim() -> None:
    made = recording.the(registered(recording.local()), "DeviceClass", "gpu.example.com").inputs
    assert made["spec"] == {
        "selectors": [{"cel": {"expression": 'device.driver == "gpu.example.com"'}}],
        "extendedResourceName": "example.com/gpu",
    }
    assert f"--driver-name={made['metadata']['name']}" in _dra_pod()["containers"][0]["args"]


def test_two_kinds_of_hosts_have_a_driver_each_and_their_devices_one_name() -> None:
    env = recording.local()
    one = env.platform.accelerators[1]
    other = one.model_copy(update={"name": "others", "node_selector": {"kubernetes.io/hostname": "onprem-1"}})
    offers = tuple(nodes.Offer(accelerator=accelerator, taints=()) for accelerator in (one, other))
    args = DevicePluginsArgs(cluster=cluster.of_hosts(env.onprem), offers=offers, index=recording.index())
    resources = recording.record(lambda: DevicePlugins("device-plugins", args))
    assert len([one for one in resources if one.kind == "DeviceClass"]) == 1
    daemon_sets = {one.name for one in resources if one.kind == "DaemonSet"}
    assert daemon_sets == {"device-plugin-simulated-dra", "device-plugin-others"}


def test_it_may_tell_of_devices_and_read_claims_and_reaches_the_api_alone() -> None:
    resources = registered(recording.local())
    rules = recording.the(resources, "ClusterRole", "simulated-dra").inputs["rules"]
    may = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert {one for one in may if one[0] != "resourceslices"} == {("resourceclaims", "get"), ("nodes", "get")}
    policy = recording.the(resources, "NetworkPolicy", "accelerators-simulated-dra").inputs["spec"]
    assert policy["ingress"] == []
    assert policy["egress"] == [
        {"to": [{"ipBlock": {"cidr": "10.90.0.0/24"}}], "ports": [{"port": 6443, "protocol": "TCP"}]}
    ]
    daemon_set = recording.the(resources, "DaemonSet", "device-plugin-simulated-dra")
    assert {"simulated-dra", "accelerators-simulated-dra", dra_driver.DRIVER} <= daemon_set.options.depends_on


def test_it_is_asked_for_its_health_as_its_program_answers() -> None:
    (container,) = _dra_pod()["containers"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"] == {"port": 8080, "service": "liveness"}
    assert "--healthcheck-port=8080" in container["args"]


def test_their_namespace_takes_pods_of_the_host_and_no_traffic() -> None:
    resources = registered(of("local"))
    labels = recording.the(resources, "Namespace", "accelerators").inputs["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"
    deny = recording.the(resources, "NetworkPolicy", "accelerators-deny-all").inputs["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_nvidias_runtime_is_named_where_there_are_gpus_and_only_there() -> None:
    made = recording.the(registered(of("prod")), "RuntimeClass", "nvidia").inputs
    assert (made["metadata"]["name"], made["handler"]) == ("nvidia", "nvidia")
    assert _pod("prod")["runtimeClassName"] == "nvidia"
    assert not [one for one in registered(of("local")) if one.kind in ("RuntimeClass", "ConfigMap")]
    assert "runtimeClassName" not in _pod("local")


def test_nvidias_settings_are_the_environments_and_a_change_rolls_the_pods() -> None:
    whole, sliced = config(registered(of("prod"))), config(registered(of("staging")))
    assert whole[1] == {"version": "v1", "flags": {"migStrategy": "none", "failOnInitError": True}}
    assert sliced[1]["sharing"] == {
        "timeSlicing": {
            "failRequestsGreaterThanOne": True,
            "resources": [{"name": "nvidia.com/gpu", "replicas": 4}],
        }
    }
    assert whole[0] != sliced[0]
    (volume,) = [one for one in _pod("staging")["volumes"] if "configMap" in one]
    assert volume["configMap"]["name"] == sliced[0]


@pytest.mark.parametrize("name", ["local", "prod"])
def test_a_plugin_gains_nothing_and_writes_to_nothing_but_its_volumes(name: str) -> None:
    (container,) = _pod(name)["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_parts_of_gpus_cost_the_plugin_a_capability_and_whole_ones_do_not() -> None:
    resources = registered(of("prod", mig_strategy="single"))
    assert config(resources)[1]["flags"]["migStrategy"] == "single"
    pod = recording.the(resources, "DaemonSet", "device-plugin-nvidia").pod
    assert pod is not None
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]},
    }
    assert {"name": "NVIDIA_MIG_MONITOR_DEVICES", "value": "all"} in container["env"]
    assert "NVIDIA_MIG_MONITOR_DEVICES" not in str(_pod("prod"))


def _dra_pod() -> dict[str, Any]:
    pod = recording.the(registered(recording.local()), "DaemonSet", "device-plugin-simulated-dra").pod
    assert pod is not None
    return pod


def _pod(name: str) -> dict[str, Any]:
    (pod,) = [one.pod for one in registered(of(name)) if one.kind == "DaemonSet"]
    assert pod is not None
    return pod
