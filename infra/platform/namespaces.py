"""Namespaces of the program: confined pods unless they must not be, and no traffic that is not named."""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_kubernetes import core

from infra.naming import LABELS
from infra.platform import pods, policies

KUBERNETES_OWN: Final = ("default", "kube-node-lease", "kube-public")
"""Namespaces that every cluster has and nothing of ours runs in.

kube-system is not among them: CoreDNS, which is there, opens what it needs and then closes the rest (coredns.py). Where
somebody else runs the add-ons there it stays open: a port that is forgotten would stop every pod.
"""


def close_kubernetes_own(opts: pulumi.ResourceOptions) -> None:
    """A pod that somebody starts in a namespace that came with the cluster reaches nothing either."""
    for name in KUBERNETES_OWN:
        policies.deny_all(name, opts=opts)


def confined(name: str, *, opts: pulumi.ResourceOptions) -> core.v1.Namespace:
    """A namespace that refuses pods which could harm their host and denies all traffic; `opts` names the parent."""
    return _namespace(name, pods.RESTRICTED, opts)


def trusted(name: str, *, opts: pulumi.ResourceOptions) -> core.v1.Namespace:
    """A namespace for pods that are part of their host; they too get no traffic that is not named."""
    return _namespace(name, pods.PRIVILEGED, opts)


def _namespace(name: str, level: dict[str, str], opts: pulumi.ResourceOptions) -> core.v1.Namespace:
    metadata = pods.metadata(name)
    metadata["labels"] = pods.selector(name) | LABELS | level
    namespace = core.v1.Namespace(name, metadata=metadata, opts=opts)
    policies.deny_all(name, opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[namespace])))
    return namespace
