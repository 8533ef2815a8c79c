"""What /api/site tells, from recorded answers of the sources; and that each source fails by itself."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from workloads.status.tests.world import (
    DIGEST,
    SECRET,
    Open,
    World,
    alert,
    claim,
    eventually,
    node,
    pod,
    resource_slice,
    taint_rule,
    workload,
)

DRIVER = "gpu.example.com"


def told(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/api/site")
    assert answer.status_code == 200
    return answer.json()


def test_a_site_is_told_with_all_its_parts(opened: Open) -> None:
    site = told(opened())
    assert site["name"] == "onprem"
    assert site["champion"]["value"] == {"name": "digits", "version": "v1-abc", "digest": DIGEST}
    assert site["alerts"]["value"] == []
    assert [one["name"] for one in site["cluster"]["value"]["nodes"]] == ["onprem-1", "onprem-2"]
    assert not [part for part in ("cluster", "champion", "alerts") if site[part]["fault"] or not site[part]["at"]]


def test_of_a_node_it_tells_roles_zone_and_what_of_it_is_requested(world: World, opened: Open) -> None:
    labels = {"topology.kubernetes.io/zone": "eu-1a"}
    world.lists["nodes"] = [node("onprem-1", labels=labels, allocatable={"example.com/resource": "1"})]
    first = told(opened())["cluster"]["value"]["nodes"][0]
    # Two pods that run; the one that has ended takes nothing.
    assert first["cpu"] == {"allocatable": 2, "requested": 0.5}
    assert first["memory"] == {"allocatable": 2**33, "requested": 2**31}
    assert first["devices"] == [{"name": "example.com/resource", "capacity": 2, "allocatable": 1, "requested": 0}]
    assert (first["roles"], first["zone"], first["version"]) == (["control-plane", "worker"], "eu-1a", "v1.37.2")


def test_devices_that_pods_have_by_claims_are_counted_by_node_and_driver(world: World, opened: Open) -> None:
    world.lists["resourceslices"] = [
        resource_slice("onprem-1", "gpu-0", "gpu-1", ill="gpu-1"),
        resource_slice("onprem-1", "nic-0", driver="net.example.com"),
        resource_slice("onprem-2", "gpu-0"),
        {
            "metadata": {"name": "fabric"},
            "spec": {"driver": "far.example.com", "allNodes": True, "pool": {"name": "x"}},
        },
    ]
    world.lists["deviceclasses"] = [
        {"metadata": {"name": "gpu.example.com"}, "spec": {"extendedResourceName": "example.com/gpu"}},
        {"metadata": {"name": "net.example.com"}, "spec": {"selectors": []}},
    ]
    world.lists["resourceclaims"] = [claim(("onprem-1", "gpu-0")), claim()]
    site = told(opened())
    first, second = ({one["name"]: one for one in node["devices"]} for node in site["cluster"]["value"]["nodes"])
    gpus = {"name": "example.com/gpu", "capacity": 2, "allocatable": 1, "requested": 1}
    assert first["example.com/gpu"] == gpus, "the same name on another node is another device"
    assert first["net.example.com"]["capacity"] == 1
    assert second["example.com/gpu"] == gpus | {"capacity": 1, "requested": 0}
    assert {*first, *second} == {"example.com/resource", "example.com/gpu", "net.example.com"}


@pytest.mark.parametrize(
    ("rule", "allocatable"),
    [
        (taint_rule(driver=DRIVER, pool="onprem-1", device="gpu-0"), [1, 2]),
        (taint_rule(pool="onprem-1"), [0, 2]),
        (taint_rule("NoExecute", device="gpu-1"), [1, 1]),
        (taint_rule(), [0, 0]),
        (taint_rule("None"), [2, 2]),
        (taint_rule(driver="net.example.com"), [2, 2]),
        ({"metadata": {"name": "of nothing"}, "spec": {"taint": {"key": "ill", "effect": "NoSchedule"}}}, [2, 2]),
    ],
)
def test_a_device_that_an_administrator_calls_ill_is_not_well(
    world: World, opened: Open, rule: dict[str, Any], allocatable: list[int]
) -> None:
    world.lists["resourceslices"] = [resource_slice(one, "gpu-0", "gpu-1") for one in ("onprem-1", "onprem-2")]
    world.lists["devicetaintrules"] = [rule]
    nodes = told(opened())["cluster"]["value"]["nodes"]
    devices = [one for node in nodes for one in node["devices"] if one["name"] == DRIVER]
    assert [one["allocatable"] for one in devices] == allocatable
    assert [one["capacity"] for one in devices] == [2, 2]


def test_an_earlier_kubernetes_knows_no_rules_on_devices(world: World, opened: Open) -> None:
    del world.lists["devicetaintrules"]
    assert told(opened())["cluster"]["value"]["nodes"]


def test_any_other_list_that_is_missing_is_told(world: World, opened: Open) -> None:
    del world.lists["jobs"]
    cluster = told(opened())["cluster"]
    assert cluster["value"] is None
    assert "/apis/batch/v1/jobs with HTTP 404" in cluster["fault"]


def test_what_is_wrong_with_a_node_is_told(world: World, opened: Open) -> None:
    taint = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}
    pressure = {"type": "DiskPressure", "status": "True"}
    spec = {"unschedulable": True, "taints": [taint]}
    world.lists["nodes"] = [node("onprem-1", ready=False, spec=spec, conditions=[pressure])]
    (first,) = told(opened())["cluster"]["value"]["nodes"]
    assert (first["ready"], first["schedulable"], first["pressures"]) == (False, False, ["DiskPressure"])
    assert first["roles"] == ["control-plane"]


def test_pods_that_have_ended_are_not_counted(opened: Open) -> None:
    spaces = {one["name"]: one for one in told(opened())["cluster"]["value"]["namespaces"]}
    assert (spaces["workloads"]["ready"], spaces["workloads"]["pods"]) == (2, 2)
    assert [(one["kind"], one["name"], one["ready"], one["wanted"]) for one in spaces["workloads"]["workloads"]] == [
        ("Deployment", "inference", 2, 2),
        ("Job", "training-1", 1, 1),
    ]
    assert [one["name"] for one in spaces["monitoring"]["workloads"]] == ["exporter", "prometheus"]


def test_the_gravest_alert_is_first(world: World, opened: Open) -> None:
    world.alerts = [alert("Aching"), alert("Dying", "critical")]
    alerts = told(opened())["alerts"]["value"]
    assert [one["name"] for one in alerts] == ["Dying", "Aching"]
    assert alerts[0]["summary"] == "Dying happened"


@pytest.mark.parametrize("path", ["/", "/api/site"])
def test_nothing_is_told_that_is_not_shown(world: World, opened: Open, path: str) -> None:
    world.alerts = [alert("Aching")]
    text = opened().get(path).text
    assert SECRET not in text
    assert "the-token" not in text


@pytest.mark.parametrize(
    ("host", "part"), [("kubernetes", "cluster"), ("inference", "champion"), ("alertmanager", "alerts")]
)
def test_a_source_that_is_gone_takes_no_other_with_it(world: World, opened: Open, host: str, part: str) -> None:
    world.gone.add(host)
    client = opened()
    site = told(client)
    assert site[part] == {"value": None, "at": None, "fault": f"{host} does not answer: Connection refused"}
    assert all(site[other]["value"] is not None for other in {"cluster", "champion", "alerts"} - {part})
    page = client.get("/")
    assert page.status_code == 200
    assert f"not known: {host} does not answer" in page.text
    assert 'class="badge unknown"' in page.text


def test_what_a_source_said_last_is_kept_with_its_age(world: World, opened: Open) -> None:
    client = opened()
    before = told(client)["champion"]
    world.champion = {"error": "model 'digits' is not loaded yet"}
    eventually(lambda: told(client)["champion"]["fault"], "a fault")
    after = told(client)["champion"]
    assert after["value"] == before["value"]
    assert after["fault"] == "inference answers /v2/models/digits with HTTP 503"
    assert "s ago: inference answers" in client.get("/").text


def test_an_answer_that_cannot_be_read_is_a_fault_of_that_source_and_is_not_shown(world: World, opened: Open) -> None:
    world.lists["nodes"] = [{"metadata": {"name": SECRET}}]
    world.champion = {"name": "digits", "versions": []}
    client = opened()
    site = told(client)
    assert site["cluster"]["fault"].startswith("an answer cannot be read: items.0.status: ")
    assert site["champion"]["fault"].startswith("an answer cannot be read: versions: ")
    assert SECRET not in client.get("/").text


def test_without_an_account_kubernetes_is_not_asked(world: World, opened: Open) -> None:
    site = told(opened(account_dir="/nowhere"))
    assert site["cluster"]["fault"] == "no account at Kubernetes' API: No such file or directory"
    assert not [one for one in world.asked if one.url.host == "kubernetes"]


def test_only_lists_are_asked_of_kubernetes(world: World, opened: Open) -> None:
    opened()
    asked = {(one.method, one.url.path) for one in world.asked if one.url.host == "kubernetes"}
    assert asked == {
        ("GET", path)
        for path in (
            "/api/v1/nodes",
            "/api/v1/pods",
            "/apis/apps/v1/deployments",
            "/apis/apps/v1/statefulsets",
            "/apis/apps/v1/daemonsets",
            "/apis/batch/v1/jobs",
            "/apis/resource.k8s.io/v1/resourceslices",
            "/apis/resource.k8s.io/v1/deviceclasses",
            "/apis/resource.k8s.io/v1/resourceclaims",
            "/apis/resource.k8s.io/v1/devicetaintrules",
        )
    }


def test_requests_are_answered_without_asking_anybody(world: World, opened: Open) -> None:
    client = opened(refresh_seconds=3600)
    asked = len(world.asked)
    for path in ("/", "/api/site", "/style.css", "/health/live", "/health/ready"):
        assert client.get(path).status_code == 200, path
    assert len(world.asked) == asked


def test_a_failed_job_and_missing_pods_make_a_site_degraded(world: World, opened: Open) -> None:
    failed = {"conditions": [{"type": "Failed", "status": "True"}]}
    world.lists["jobs"] = [workload("workloads", "training-2", {}, failed)]
    world.lists["deployments"] = [workload("workloads", "inference", {"replicas": 3}, {"readyReplicas": 2})]
    world.lists["pods"].append(pod("kube-system", "lonely", "onprem-1", ready=False))
    page = opened().get("/").text
    assert 'class="badge degraded"' in page
    for reason in (
        "Job workloads/training-2 failed",
        "Deployment workloads/inference not ready",
        "1 of 1 pods in kube-system not ready",
    ):
        assert f"<li>{reason}</li>" in page
