"""The rules of rules.py over every pod of every reviewed environment, and that each rule refuses what it is for."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from infra.platform.chart import Manifest
from tests.infra.manifests import exceptions, rules
from tests.infra.manifests.conftest import CLUSTERS, of

ALLOWED = set().union(*(one.allowed for one in exceptions.OURS))


def kept(cluster: list[Manifest], rule: rules.Rule) -> None:
    """Fails with every part of a pod that breaks the rule without an exception."""
    strays = {one for one in rules.broken(cluster, [rule]) if one not in ALLOWED}
    assert strays == set(), f"mend them, or say in exceptions.py why they may: {rule.__doc__}"


def test_every_container_is_promised_something_and_bounded(cluster: list[Manifest]) -> None:
    kept(cluster, rules.bounded)


def test_every_server_is_probed(cluster: list[Manifest]) -> None:
    kept(cluster, rules.probed)


def test_who_is_ready_is_seen_to_be_soon(cluster: list[Manifest]) -> None:
    kept(cluster, rules.noticed)


def test_no_container_is_root(cluster: list[Manifest]) -> None:
    kept(cluster, rules.not_root)


def test_no_container_has_or_gains_a_part_of_roots_power(cluster: list[Manifest]) -> None:
    kept(cluster, rules.powerless)


def test_no_container_writes_to_its_image(cluster: list[Manifest]) -> None:
    kept(cluster, rules.read_only)


def test_every_image_is_pinned_by_digest(cluster: list[Manifest]) -> None:
    kept(cluster, rules.pinned)


def test_no_pod_holds_a_key_to_the_api_that_is_not_its_own_account(cluster: list[Manifest]) -> None:
    kept(cluster, rules.keyless)


def test_no_pod_sees_its_host(cluster: list[Manifest]) -> None:
    kept(cluster, rules.apart)


def test_no_exception_is_idle() -> None:
    needed = set().union(*(rules.broken(of(*one)) for one in CLUSTERS))
    assert ALLOWED - needed == set(), "nothing needs them any longer: take them out of exceptions.py"


GOOD: dict[str, Any] = {
    "automountServiceAccountToken": False,
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "it",
            "image": f"registry.example/it:v1@sha256:{'0' * 64}",
            "resources": {bound: {"cpu": "1", "memory": "1Mi"} for bound in ("requests", "limits")},
            "readinessProbe": {"httpGet": {"path": "/", "port": 1}, "periodSeconds": 5},
            "livenessProbe": {"httpGet": {"path": "/", "port": 1}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}


def starting(pod: dict[str, Any], kind: str = "Deployment") -> Manifest:
    template = {"metadata": {"labels": {"app.kubernetes.io/name": "it"}}, "spec": pod}
    spec = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    return {"kind": kind, "metadata": {"name": "it-1", "namespace": "here"}, "spec": spec}


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    pod = copy.deepcopy(GOOD)
    place: Any = pod
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return pod


CONTAINER = ("containers", 0)
CONTEXT = (*CONTAINER, "securityContext")


def test_a_sound_pod_breaks_no_rule() -> None:
    assert rules.broken([starting(GOOD)]) == set()


@pytest.mark.parametrize(
    ("path", "value", "rule", "part"),
    [
        ((*CONTAINER, "resources", "limits"), {"cpu": "1"}, "bounded", "it: limits of memory"),
        ((*CONTAINER, "readinessProbe"), None, "probed", "it: readinessProbe"),
        ((*CONTAINER, "readinessProbe", "periodSeconds"), 6, "noticed", "it"),
        ((*CONTAINER, "startupProbe"), {"httpGet": {"path": "/", "port": 1}}, "noticed", "it"),
        ((*CONTEXT, "runAsNonRoot"), False, "not_root", "it"),
        ((*CONTEXT, "runAsUser"), 0, "not_root", "it"),
        ((*CONTEXT, "privileged"), True, "powerless", "it: privileged"),
        ((*CONTEXT, "allowPrivilegeEscalation"), True, "powerless", "it: allowPrivilegeEscalation"),
        ((*CONTEXT, "capabilities", "add"), ["NET_RAW"], "powerless", "it: capabilities"),
        ((*CONTEXT, "capabilities"), {}, "powerless", "it: capabilities"),
        ((*CONTEXT, "seccompProfile"), {"type": "Unconfined"}, "powerless", "it: seccompProfile"),
        ((*CONTEXT, "readOnlyRootFilesystem"), False, "read_only", "it"),
        ((*CONTAINER, "image"), "registry.example/it:v1", "pinned", "it"),
        (("automountServiceAccountToken",), True, "keyless", "here/default"),
        (("hostNetwork",), True, "apart", "hostNetwork"),
        (("volumes",), [{"name": "a", "hostPath": {"path": "/a"}}], "apart", "/a"),
        ((*CONTAINER, "ports"), [{"hostPort": 80}], "apart", "it: hostPort"),
    ],
)
def test_each_rule_names_what_breaks_it(path: tuple[Any, ...], value: Any, rule: str, part: str) -> None:
    assert rules.broken([starting(changed(path, value))]) == {(rule, "here/it", part)}


@pytest.mark.parametrize("kind", ["Job", "CronJob"])
def test_pods_of_every_kind_of_object_are_seen_and_what_ends_is_not_probed(kind: str) -> None:
    pod = changed((*CONTAINER, "image"), "it")
    del pod["containers"][0]["livenessProbe"]
    assert rules.broken([starting(pod, kind)]) == {("pinned", "here/it", "it")}


def test_containers_that_run_before_the_others_are_held_to_the_rules_too() -> None:
    pod = {**GOOD, "initContainers": [{**GOOD["containers"][0], "name": "first", "image": "it"}]}
    assert rules.broken([starting(pod)]) == {("pinned", "here/it", "first")}


def test_an_account_of_its_own_is_a_key_only_with_a_binding() -> None:
    holder = starting({**GOOD, "automountServiceAccountToken": True, "serviceAccountName": "it"})
    account = {"kind": "ServiceAccount", "metadata": {"name": "it", "namespace": "here"}}
    subject = {"kind": "ServiceAccount", "name": "it", "namespace": "here"}
    binding = {"kind": "ClusterRoleBinding", "metadata": {"name": "it"}, "subjects": [subject]}
    assert rules.broken([holder, account, binding]) == set()
    for less in ([holder, account], [holder, binding]):
        assert rules.broken(less) == {("keyless", "here/it", "here/it")}
