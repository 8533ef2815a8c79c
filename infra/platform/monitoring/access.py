"""Who a part of monitoring is at the API, and what it may read there; none may change anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
from pulumi_kubernetes import core, rbac

from infra.platform import accounts, pods
from infra.platform.accounts import Rule
from infra.platform.monitoring.names import NAMESPACE

READ: Final = ("list", "watch")


def watching(group: str, *resources: str) -> Rule:
    """To see resources of a group and every change of them."""
    return {"api_groups": [group], "resources": list(resources), "verbs": list(READ)}


def reader(app: str, rules: Sequence[Rule], opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """A service account of the app's name that may do this in the whole cluster."""
    return accounts.allowed(app, NAMESPACE, rules, opts)


def reader_of_default(app: str, rules: Sequence[Rule], opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """The same account, in the namespace `default` alone, where the API servers' own Service is."""
    return _bound(f"{app}-default", app, "default", rules, opts)


def reader_of_own(app: str, rules: Sequence[Rule], opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """A service account of the app's name that may do this in monitoring's own namespace alone."""
    account = core.v1.ServiceAccount(app, metadata=pods.metadata(app, namespace=NAMESPACE), opts=opts)
    return [account, _bound(app, app, NAMESPACE, rules, opts)]


def _bound(name: str, app: str, where: str, rules: Sequence[Rule], opts: pulumi.ResourceOptions) -> pulumi.Resource:
    metadata = pods.metadata(app, name=f"isthmus:{app}", namespace=where)
    role = rbac.v1.Role(name, metadata=metadata, rules=list(rules), opts=opts)
    return rbac.v1.RoleBinding(
        name,
        metadata=metadata,
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": role.metadata["name"]},
        subjects=[{"kind": "ServiceAccount", "name": app, "namespace": NAMESPACE}],
        opts=opts,
    )
