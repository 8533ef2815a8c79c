"""Who a pod is at the API, and what it may do there in the whole cluster."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_kubernetes import core, rbac

from infra.platform import pods

Rule = rbac.v1.PolicyRuleArgsDict


def allowed(app: str, namespace: str, rules: Sequence[Rule], opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """A service account of the app's name with these rights."""
    account = core.v1.ServiceAccount(app, metadata=pods.metadata(app, namespace=namespace), opts=opts)
    role = rbac.v1.ClusterRole(app, metadata=pods.metadata(app, name=f"isthmus:{app}"), rules=list(rules), opts=opts)
    binding = rbac.v1.ClusterRoleBinding(
        app,
        metadata=pods.metadata(app, name=f"isthmus:{app}"),
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.metadata["name"]},
        subjects=[{"kind": "ServiceAccount", "name": app, "namespace": namespace}],
        opts=opts,
    )
    return [account, binding]
