"""What is a change, and what is a replacement."""

from __future__ import annotations

from typing import Any

import pytest

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.kubernetes.diffing import Plan, plan
from infra.providers.offline.kubernetes.kinds import of_token
from infra.providers.offline.values import dotted

META = {"metadata": {"name": "it", "namespace": "here"}}
AUTONAMED = {"metadata": {**META["metadata"], "annotations": {"pulumi.com/autonamed": "true"}}}


def compare(token: str, olds: dict[str, Any], news: dict[str, Any], **more: Any) -> Plan:
    """Of two objects that have the same name."""
    return plan(of_token(f"kubernetes:{token}"), {**META, **olds}, {**META, **news}, more.pop("state", {}), **more)


def paths(found: Plan) -> dict[str, str]:
    """Path -> kind."""
    return {dotted(difference.path): difference.kind for difference in found.differences}


def test_the_same_is_no_change_and_null_is_as_good_as_absent() -> None:
    spec = {"spec": {"a": [1, {"b": "c"}], "d": None}}
    assert paths(compare("apps/v1:Deployment", spec, {"spec": {"a": [1, {"b": "c"}]}})) == {}


def test_changes_are_named_leaf_by_leaf() -> None:
    olds = {"spec": {"replicas": 1, "list": ["a"], "old": {"x": 1}, "flag": True}}
    news = {"spec": {"replicas": 2, "list": ["a", "b"], "new": {"y": {"z": 1}}, "flag": 1}}
    assert paths(compare("apps/v1:Deployment", olds, news)) == {
        "spec.replicas": "update",
        "spec.list[1]": "add",
        "spec.old.x": "delete",
        "spec.new.y.z": "add",
        "spec.flag": "update",
    }


def test_an_unknown_value_may_differ() -> None:
    assert paths(compare("core/v1:ConfigMap", {"data": {"a": "1"}}, {"data": {"a": UNKNOWN}})) == {"data.a": "update"}


@pytest.mark.parametrize(
    ("token", "olds", "news", "replaced"),
    [
        ("core/v1:ConfigMap", {"data": {"a": "1"}}, {"data": {"a": "2"}}, True),
        ("core/v1:Secret", {"stringData": {"a": "1"}}, {"stringData": {"a": "2"}}, True),
        ("core/v1:Secret", {"type": "Opaque"}, {"type": "kubernetes.io/tls"}, True),
        ("apps/v1:Deployment", {"spec": {"replicas": 1}}, {"spec": {"replicas": 2}}, False),
        ("apps/v1:Deployment", {}, {"spec": {"selector": {"matchLabels": {"a": "b"}}}}, True),
        ("apps/v1:DaemonSet", {"spec": {"selector": {"a": 1}}}, {"spec": {"selector": {"a": 2}}}, True),
        ("apps/v1:StatefulSet", {"spec": {"volumeClaimTemplates": []}}, {"spec": {"volumeClaimTemplates": [{}]}}, True),
        ("apps/v1:StatefulSet", {"spec": {"replicas": 1}}, {"spec": {"replicas": 2}}, False),
        ("batch/v1:Job", {"spec": {"template": {"a": 1}}}, {"spec": {"template": {"a": 2}}}, True),
        ("batch/v1:Job", {"spec": {"ttlSecondsAfterFinished": 1}}, {"spec": {"ttlSecondsAfterFinished": 2}}, False),
        ("core/v1:Service", {"spec": {"clusterIP": "None"}}, {"spec": {}}, True),
        ("core/v1:Service", {"spec": {"ports": [{"port": 1}]}}, {"spec": {"ports": [{"port": 2}]}}, False),
        ("core/v1:PersistentVolumeClaim", {"spec": {"volumeName": "a"}}, {"spec": {"volumeName": "b"}}, True),
        (
            "core/v1:PersistentVolumeClaim",
            {"spec": {"resources": {"requests": {"storage": "1Gi"}}}},
            {"spec": {"resources": {"requests": {"storage": "2Gi"}}}},
            False,
        ),
        ("core/v1:PersistentVolume", {"spec": {"local": {"path": "a"}}}, {"spec": {"local": {"path": "b"}}}, True),
        ("storage.k8s.io/v1:StorageClass", {"parameters": {"a": "1"}}, {"parameters": {"a": "2"}}, True),
        ("rbac.authorization.k8s.io/v1:RoleBinding", {"roleRef": {"name": "a"}}, {"roleRef": {"name": "b"}}, True),
        ("rbac.authorization.k8s.io/v1:RoleBinding", {"subjects": [{"n": "a"}]}, {"subjects": [{"n": "b"}]}, False),
        ("cilium.io/v2:CiliumNetworkPolicy", {"spec": {"a": 1}}, {"spec": {"a": 2}}, False),
        ("core/v1:ConfigMap", {}, {"metadata": {"name": "it", "namespace": "elsewhere"}}, True),
    ],
)
def test_what_cannot_change_in_place_is_replaced(
    token: str, olds: dict[str, Any], news: dict[str, Any], replaced: bool
) -> None:
    found = compare(token, olds, news)
    assert found.differences
    assert bool(found.replaces) is replaced


def test_the_old_object_goes_first_only_where_its_name_is_needed() -> None:
    kind = of_token("kubernetes:core/v1:ConfigMap")
    assert compare("core/v1:ConfigMap", {"data": {"a": "1"}}, {"data": {"a": "2"}}).delete_first
    autonamed = plan(kind, {**AUTONAMED, "data": {"a": "1"}}, {**AUTONAMED, "data": {"a": "2"}}, {})
    assert autonamed.replaces
    assert not autonamed.delete_first
    assert not plan(kind, META, {"metadata": {"name": "other", "namespace": "here"}}, {}).delete_first


def test_data_changes_in_place_where_the_provider_says_so() -> None:
    mutable = frozenset({"ConfigMap"})
    assert not compare("core/v1:ConfigMap", {"data": {"a": "1"}}, {"data": {"a": "2"}}, mutable=mutable).replaces
    fixed = {"immutable": True, "data": {"a": "1"}}
    assert compare("core/v1:ConfigMap", fixed, {**fixed, "data": {"a": "2"}}, mutable=mutable).replaces
    assert compare("core/v1:Secret", {"data": {"a": "1"}}, {"data": {"a": "2"}}, mutable=mutable).replaces


def test_a_failed_job_is_made_anew_where_it_says_so() -> None:
    inputs = {"metadata": {"name": "it", "annotations": {"pulumi.com/replaceUnready": "true"}}}
    failed = {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    assert compare("batch/v1:Job", inputs, inputs, state=failed).replaces
    assert not compare("batch/v1:Job", inputs, inputs, state={"status": {"conditions": []}}).differences
    assert not compare("batch/v1:Job", {}, {}, state=failed).differences
