"""Network policy: a namespace starts with nothing allowed, and each app names what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any, Final, cast

import pulumi
from pulumi_kubernetes import networking

from infra.platform import pods
from infra.platform.cluster import Cluster

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
LINK_LOCAL: Final = "169.254.0.0/16"
CLUSTER_LABEL: Final = "io.cilium.k8s.policy.cluster"
"""Cilium gives it to every pod, with its name of the pod's cluster."""

Peer = networking.v1.NetworkPolicyPeerArgsDict
Ingress = networking.v1.NetworkPolicyIngressRuleArgsDict
Egress = networking.v1.NetworkPolicyEgressRuleArgsDict


def ports(*numbers: int, protocol: str = "TCP") -> list[networking.v1.NetworkPolicyPortArgsDict]:
    """Ports of a rule."""
    return [{"port": number, "protocol": protocol} for number in numbers]


def app(name: str, *, within: str | None = None) -> Peer:
    """The pods of an app, in the policy's own namespace unless another is named."""
    peer: Peer = {"pod_selector": {"match_labels": pods.selector(name)}}
    return {**namespace(within), **peer} if within else peer


def namespace(name: str) -> Peer:
    """Every pod of a namespace."""
    return {"namespace_selector": {"match_labels": {NAMESPACE_LABEL: name}}}


def network(cidr: IPv4Network) -> Peer:
    """A range of addresses. Cilium counts nodes in only because its values set policyCIDRMatchMode."""
    return {"ip_block": {"cidr": str(cidr)}}


def outside(*inside: IPv4Network) -> Peer:
    """Anywhere but in these ranges, and not where a cloud keeps the credentials of its machines."""
    spared = [*(str(cidr) for cidr in inside), LINK_LOCAL]
    return {"ip_block": {"cidr": "0.0.0.0/0", "except_": spared}}


def to_dns() -> Egress:
    """Lets pods ask the cluster's DNS."""
    dns: Peer = {**namespace("kube-system"), "pod_selector": {"match_labels": {"k8s-app": "kube-dns"}}}
    return {"to": [dns], "ports": ports(53, protocol="UDP") + ports(53)}


def to_api(cluster: Cluster) -> Egress:
    """Lets pods ask the cluster's API servers, which are hosts of the site."""
    return {"to": [network(cluster.node_cidr)], "ports": ports(cluster.api_server_port)}


def read_by(readers: Sequence[Peer], port: int) -> list[Ingress]:
    """Lets readers of metrics in at a port; without any it is no rule, as a rule of nobody would let in everybody."""
    return [{"from_": list(readers), "ports": ports(port)}] if readers else []


def deny_all(where: str, *, opts: pulumi.ResourceOptions) -> networking.v1.NetworkPolicy:
    """Nothing in the namespace talks or listens unless another policy allows it."""
    return networking.v1.NetworkPolicy(
        f"{where}-deny-all",
        metadata=pods.metadata("deny-all", namespace=where),
        spec={"pod_selector": {}, "policy_types": ["Ingress", "Egress"]},
        opts=opts,
    )


def allow(
    name: str,
    where: str,
    *,
    ingress: list[Ingress],
    egress: list[Egress],
    app_name: str | None = None,
    opts: pulumi.ResourceOptions,
) -> networking.v1.NetworkPolicy:
    """What the pods of an app may receive and send, and no more unless another policy of theirs says so.

    The app is the policy's name unless given; an empty list is nothing.
    """
    return networking.v1.NetworkPolicy(
        f"{where}-{name}",
        metadata=pods.metadata(name, namespace=where),
        spec={
            "pod_selector": {"match_labels": pods.selector(app_name or name)},
            "policy_types": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
        opts=opts,
    )


def of_cluster(name: str) -> pulumi.ResourceTransformation:
    """Makes every policy below a resource mean pods of the cluster of that name (Cilium's) wherever it names pods.

    In a mesh Cilium takes those of the other cluster for them too, where namespace and labels are the same.
    """

    def narrow(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if args.type_ != "kubernetes:networking.k8s.io/v1:NetworkPolicy":
            return None
        spec = dict(cast("dict[str, Any]", args.props["spec"]))
        for way, peers in (("ingress", "from_"), ("egress", "to")):
            if way in spec:
                spec[way] = [_narrowed(rule, peers, name) for rule in spec[way]]
        return pulumi.ResourceTransformationResult(props={**args.props, "spec": spec}, opts=args.opts)

    return narrow


def _narrowed(rule: dict[str, Any], peers: str, cluster: str) -> dict[str, Any]:
    return {**rule, peers: [_within(peer, cluster) for peer in rule[peers]]} if peers in rule else rule


def _within(peer: dict[str, Any], cluster: str) -> dict[str, Any]:
    if "ip_block" in peer:
        return peer
    selector = peer.get("pod_selector", {})
    labels = {**selector.get("match_labels", {}), CLUSTER_LABEL: cluster}
    return {**peer, "pod_selector": {**selector, "match_labels": labels}}
