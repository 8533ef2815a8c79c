"""Deployments, daemon sets and stateful sets: ready when all pods are of the newest template, and available."""

from __future__ import annotations

from infra.providers.offline.kubernetes.awaiting import pods
from infra.providers.offline.kubernetes.awaiting.verdict import (
    READY,
    Awaiter,
    Object,
    Verdict,
    condition,
    observed,
    says,
    why,
)
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.kubernetes.kinds import Kind
from infra.providers.offline.values import at

REPLICA_SET = Kind(group="apps", version="v1", name="ReplicaSet", plural="replicasets", namespaced=True)


def _deployment(_cluster: Cluster, obj: Object) -> Verdict:
    if at(obj, "spec", "paused") is True:
        return READY
    if not observed(obj):
        return Verdict("the deployment controller has not seen this version yet")
    if condition(obj, "Progressing").get("reason") == "ProgressDeadlineExceeded":
        return Verdict(why(obj, "Progressing"), hopeless=True)
    wanted, status = at(obj, "spec", "replicas"), obj.get("status") or {}
    wanted = 1 if wanted is None else wanted
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated < wanted:
        return Verdict(f"{updated} of {wanted} pods made anew")
    if status.get("replicas", 0) > updated:
        return Verdict(f"{status['replicas'] - updated} old pods still to end")
    if available < wanted:
        return Verdict(f"{available} of {wanted} pods available")
    return READY


def _daemon_set(_cluster: Cluster, obj: Object) -> Verdict:
    if not observed(obj):
        return Verdict("the daemon set controller has not seen this version yet")
    status = obj.get("status") or {}
    wanted = status.get("desiredNumberScheduled", 0)
    updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    by_hand = at(obj, "spec", "updateStrategy", "type") == "OnDelete"
    if updated < wanted and not by_hand:
        return Verdict(f"{updated} of {wanted} nodes have the newest pod")
    if available < wanted:
        return Verdict(f"{available} of {wanted} pods available")
    return READY


def _stateful_set(_cluster: Cluster, obj: Object) -> Verdict:
    if not observed(obj):
        return Verdict("the stateful set controller has not seen this version yet")
    wanted, status = at(obj, "spec", "replicas"), obj.get("status") or {}
    wanted = 1 if wanted is None else wanted
    if status.get("readyReplicas", 0) < wanted or status.get("replicas", 0) != wanted:
        return Verdict(f"{status.get('readyReplicas', 0)} of {wanted} pods ready")
    if at(obj, "spec", "updateStrategy", "type") == "OnDelete":
        return READY
    partition = at(obj, "spec", "updateStrategy", "rollingUpdate", "partition") or 0
    newest = wanted - partition
    same = status.get("currentRevision") == status.get("updateRevision")
    if status.get("updatedReplicas", 0) < newest and not (same and partition == 0):
        return Verdict(f"{status.get('updatedReplicas', 0)} of {newest} pods made anew")
    return READY


def _explain(cluster: Cluster, obj: Object) -> list[str]:
    namespace, labels = obj["metadata"]["namespace"], pods.selector_text(obj["spec"]["selector"])
    found = pods.events(cluster, obj) + pods.troubles(cluster, namespace, labels)
    if not found and obj["kind"] == "Deployment":
        # A quota or an admission rule refuses pods to the replica set: no pod exists to tell it.
        for replica_set in cluster.find(REPLICA_SET, namespace, labels=labels):
            if says(replica_set, "ReplicaFailure"):
                found.append(why(replica_set, "ReplicaFailure"))
    return found


DEPLOYMENT = Awaiter(check=_deployment, explain=_explain)
DAEMON_SET = Awaiter(check=_daemon_set, explain=_explain)
STATEFUL_SET = Awaiter(check=_stateful_set, explain=_explain)
