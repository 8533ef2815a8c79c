"""When an object is ready, from its status alone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from infra.providers.offline.kubernetes import awaiting
from infra.providers.offline.kubernetes.awaiting.pods import selector_text
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.kubernetes.kinds import of_token

# None of these verdicts may need a request: a request would fail here.
NO_CLUSTER = cast(Cluster, None)


def verdict(token: str, spec: dict[str, Any], status: dict[str, Any]) -> tuple[str, bool]:
    """What is missing, and whether it is hopeless."""
    awaiter = awaiting.of(of_token(f"kubernetes:{token}"))
    assert awaiter is not None
    obj = {"metadata": {"name": "it", "namespace": "here", "generation": 2}, "spec": spec, "status": status}
    found = awaiter.check(NO_CLUSTER, obj)
    return found.missing, found.hopeless


def condition(name: str, value: str = "True", **more: str) -> dict[str, Any]:
    """A status with one condition."""
    return {"conditions": [{"type": name, "status": value, **more}]}


SEEN = {"observedGeneration": 2}


@pytest.mark.parametrize(
    ("token", "spec", "status"),
    [
        ("apps/v1:Deployment", {"replicas": 0}, SEEN),
        ("apps/v1:Deployment", {"paused": True}, {}),
        ("apps/v1:Deployment", {}, {**SEEN, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}),
        ("apps/v1:DaemonSet", {}, SEEN),
        (
            "apps/v1:DaemonSet",
            {},
            {**SEEN, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2},
        ),
        (
            "apps/v1:DaemonSet",
            {"updateStrategy": {"type": "OnDelete"}},
            {**SEEN, "desiredNumberScheduled": 2, "numberAvailable": 2},
        ),
        (
            "apps/v1:StatefulSet",
            {"replicas": 2},
            {**SEEN, "replicas": 2, "readyReplicas": 2, "currentRevision": "a", "updateRevision": "a"},
        ),
        (
            "apps/v1:StatefulSet",
            {"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}},
            {
                **SEEN,
                "replicas": 2,
                "readyReplicas": 2,
                "updatedReplicas": 1,
                "currentRevision": "a",
                "updateRevision": "b",
            },
        ),
        ("batch/v1:Job", {}, condition("Complete")),
        ("batch/v1:Job", {"suspend": True}, {}),
        ("core/v1:Namespace", {}, {"phase": "Active"}),
        ("core/v1:Pod", {}, {"phase": "Succeeded"}),
        ("core/v1:Pod", {}, {"phase": "Running", **condition("Ready")}),
        ("core/v1:Service", {"type": "ExternalName", "selector": {"a": "b"}}, {}),
        ("core/v1:Service", {"clusterIP": "None", "selector": {"a": "b"}}, {}),
        ("core/v1:Service", {"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
        ("core/v1:PersistentVolume", {}, {"phase": "Available"}),
        ("core/v1:PersistentVolumeClaim", {"storageClassName": ""}, {"phase": "Bound"}),
        ("apiregistration.k8s.io/v1:APIService", {}, condition("Available")),
    ],
)
def test_ready(token: str, spec: dict[str, Any], status: dict[str, Any]) -> None:
    assert verdict(token, spec, status) == ("", False)


@pytest.mark.parametrize(
    ("token", "spec", "status", "missing"),
    [
        ("apps/v1:Deployment", {}, {"observedGeneration": 1}, "has not seen this version"),
        ("apps/v1:Deployment", {"replicas": 2}, {**SEEN, "updatedReplicas": 1}, "1 of 2 pods made anew"),
        ("apps/v1:Deployment", {}, {**SEEN, "updatedReplicas": 1, "replicas": 2}, "1 old pods still to end"),
        ("apps/v1:Deployment", {}, {**SEEN, "updatedReplicas": 1, "replicas": 1}, "0 of 1 pods available"),
        ("apps/v1:DaemonSet", {}, {**SEEN, "desiredNumberScheduled": 3, "updatedNumberScheduled": 1}, "1 of 3 nodes"),
        (
            "apps/v1:StatefulSet",
            {"replicas": 2},
            {
                **SEEN,
                "replicas": 2,
                "readyReplicas": 2,
                "updatedReplicas": 1,
                "currentRevision": "a",
                "updateRevision": "b",
            },
            "1 of 2 pods made anew",
        ),
        (
            "batch/v1:Job",
            {"completions": 3},
            {"succeeded": 1, "active": 2, "failed": 1},
            "1 of 3 completed, 2 running, 1",
        ),
        ("core/v1:Service", {"type": "LoadBalancer"}, {}, "no address from a load balancer"),
        ("core/v1:PersistentVolumeClaim", {"storageClassName": ""}, {"phase": "Pending"}, "not bound"),
        (
            "apiextensions.k8s.io/v1:CustomResourceDefinition",
            {},
            condition("NamesAccepted"),
            "the API server does not serve it yet",
        ),
    ],
)
def test_not_yet(token: str, spec: dict[str, Any], status: dict[str, Any], missing: str) -> None:
    found, hopeless = verdict(token, spec, status)
    assert missing in found
    assert not hopeless


@pytest.mark.parametrize(
    ("token", "status", "says"),
    [
        (
            "apps/v1:Deployment",
            {**SEEN, **condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="timed out")},
            "timed out",
        ),
        ("batch/v1:Job", condition("Failed", reason="BackoffLimitExceeded"), "BackoffLimitExceeded"),
        ("core/v1:Pod", {"phase": "Failed"}, "failed"),
        ("core/v1:PersistentVolumeClaim", {"phase": "Lost"}, "lost"),
        (
            "apiextensions.k8s.io/v1:CustomResourceDefinition",
            condition("NamesAccepted", "False", reason="Conflict"),
            "Conflict",
        ),
    ],
)
def test_never(token: str, status: dict[str, Any], says: str) -> None:
    found, hopeless = verdict(token, {}, status)
    assert says in found
    assert hopeless


def test_a_kind_without_a_notion_of_ready_is_not_awaited() -> None:
    assert awaiting.of(of_token("kubernetes:core/v1:ConfigMap")) is None


def test_selectors_are_written_for_a_query() -> None:
    selector = {
        "matchLabels": {"a": "b"},
        "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["1", "2"]},
            {"key": "d", "operator": "DoesNotExist"},
        ],
    }
    assert selector_text(selector) == "a=b,c in (1,2),!d"
