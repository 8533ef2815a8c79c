"""Namespaces of the program: confined pods, and no traffic that is not named."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes import core

from infra.naming import LABELS
from infra.platform import pods, policies


def confined(name: str, *, opts: pulumi.ResourceOptions) -> core.v1.Namespace:
    """A namespace that refuses pods which could harm their host and denies all traffic; `opts` names the parent."""
    metadata = pods.metadata(name)
    metadata["labels"] = pods.selector(name) | LABELS | pods.RESTRICTED
    namespace = core.v1.Namespace(name, metadata=metadata, opts=opts)
    policies.deny_all(name, opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[namespace])))
    return namespace
