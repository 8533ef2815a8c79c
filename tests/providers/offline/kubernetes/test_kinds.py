"""Which tokens are known."""

from __future__ import annotations

import pytest

from infra.providers.offline.kubernetes.kinds import UnknownKind, of_token


@pytest.mark.parametrize(
    ("token", "api_version", "namespaced"),
    [
        ("kubernetes:core/v1:ConfigMap", "v1", True),
        ("kubernetes:core/v1:Namespace", "v1", False),
        ("kubernetes:apps/v1:Deployment", "apps/v1", True),
        ("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", "rbac.authorization.k8s.io/v1", False),
        ("kubernetes:node.k8s.io/v1:RuntimeClass", "node.k8s.io/v1", False),
        ("kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding", None, False),
        ("kubernetes:kueue.x-k8s.io/v1beta1:ClusterQueue", "kueue.x-k8s.io/v1beta1", None),
        ("kubernetes:cilium.io/v2:CiliumNetworkPolicy", "cilium.io/v2", None),
    ],
)
def test_a_known_token_names_its_kind(token: str, api_version: str | None, namespaced: bool | None) -> None:
    kind = of_token(token)
    assert api_version is None or kind.api_version == api_version
    assert kind.namespaced is namespaced
    assert kind.custom is (namespaced is None)


@pytest.mark.parametrize(
    "token",
    [
        "kubernetes:core/v1:Endpoints",
        "kubernetes:apps/v1:DeploymentPatch",
        "kubernetes:core/v1:ConfigMapList",
        "kubernetes:apps/v1beta1:Deployment",
        "kubernetes:helm.sh/v3:Release",
        "kubernetes:helm.sh/v4:Chart",
        "kubernetes:yaml/v2:ConfigFile",
        "kubernetes:yaml:ConfigFile",
        "kubernetes:kustomize/v2:Directory",
        "kubernetes:cilium.io/v2:CiliumNetworkPolicyPatch",
    ],
)
def test_anything_else_is_refused_by_name(token: str) -> None:
    with pytest.raises(UnknownKind, match=token):
        of_token(token)
