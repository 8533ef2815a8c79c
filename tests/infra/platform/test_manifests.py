"""Each object of a chart becomes a resource of its own, with a name that lasts."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from infra.platform import chart, manifests
from infra.platform.chart import Manifest
from tests.infra import recording


def manifest(version: str, kind: str, name: str, namespace: str | None = None, **body: Any) -> Manifest:
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **where}, **body}


def registered(*objects: Manifest) -> list[recording.Resource]:
    return recording.record(lambda: manifests.create(list(objects), opts=pulumi.ResourceOptions()))


def test_names_are_made_of_kind_namespace_and_name() -> None:
    assert manifests.logical_name(manifest("v1", "Service", "dns", "kube-system")) == "service-kube-system-dns"
    assert manifests.logical_name(manifest("v1", "Namespace", "cilium-secrets")) == "namespace-cilium-secrets"


def test_a_known_kind_keeps_every_field() -> None:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "agent"}
    subjects = [{"kind": "ServiceAccount", "name": "agent", "namespace": "here"}]
    (resource,) = registered(
        manifest("rbac.authorization.k8s.io/v1", "RoleBinding", "agent", "here", roleRef=role, subjects=subjects)
    )
    assert resource.type == "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding"
    assert resource.inputs["roleRef"] == role
    assert resource.inputs["subjects"] == subjects


def test_keys_of_data_are_not_renamed() -> None:
    (resource,) = registered(manifest("v1", "ConfigMap", "c", "here", data={"snake_key": "1", "camelKey": "2"}))
    assert resource.inputs["data"] == {"snake_key": "1", "camelKey": "2"}


def test_an_unknown_kind_becomes_a_custom_resource() -> None:
    (resource,) = registered(manifest("cilium.io/v2", "CiliumNode", "n", spec={"a": 1}))
    assert resource.type == "kubernetes:cilium.io/v2:CiliumNode"
    assert resource.inputs["spec"] == {"a": 1}


def test_a_custom_resource_may_have_more_than_a_spec() -> None:
    (resource,) = registered(manifest("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass", "n", driver="d"))
    assert resource.inputs["driver"] == "d"


def test_an_unknown_kind_of_kubernetes_own_is_refused() -> None:
    with pytest.raises(TypeError, match="give its kind a class"):
        manifests.create([manifest("apps/v1", "Odd", "n", spec={})], opts=pulumi.ResourceOptions())


def test_namespaces_come_first_and_pods_last() -> None:
    resources = registered(
        manifest("apps/v1", "DaemonSet", "agent", "here", spec={}),
        manifest("v1", "ServiceAccount", "agent", "here"),
        manifest("v1", "Namespace", "here"),
    )
    assert [one.kind for one in resources] == ["Namespace", "ServiceAccount", "DaemonSet"]


def test_parsing_sorts_and_drops_what_has_no_value() -> None:
    text = """
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: b, annotations: }
---
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: a}
"""
    assert [one["metadata"] for one in chart.parse(text)] == [{"name": "a"}, {"name": "b"}]
