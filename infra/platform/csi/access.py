"""Who a controller is at the API, what it may do there, and that it reaches nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from infra.naming import STORAGE_NAMESPACE as NAMESPACE
from infra.platform import accounts, policies
from infra.platform.accounts import Rule
from infra.platform.cluster import Cluster

READ = ("get", "list", "watch")


def rule(group: str, resources: Sequence[str], *verbs: str) -> Rule:
    """What may be done to resources of a group."""
    return {"api_groups": [group], "resources": list(resources), "verbs": list(verbs)}


EVENTS = rule("", ["events"], "list", "watch", "create", "update", "patch")
"""Every controller tells in events what it does and what went wrong."""


def controller(
    app: str, rules: Sequence[Rule], *, cluster: Cluster, opts: pulumi.ResourceOptions
) -> list[pulumi.Resource]:
    """A service account of the app's name with these rights in the whole cluster; its pods reach the API alone."""
    may = accounts.allowed(app, NAMESPACE, rules, opts)
    network = policies.allow(app, NAMESPACE, ingress=[], egress=[policies.to_api(cluster)], opts=opts)
    return [*may, network]
