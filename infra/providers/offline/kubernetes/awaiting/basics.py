"""Namespaces, pods, definitions of custom resources and aggregated APIs."""

from __future__ import annotations

from infra.providers.offline.kubernetes.awaiting import pods
from infra.providers.offline.kubernetes.awaiting.verdict import READY, Awaiter, Object, Verdict, says, why
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.values import at


def _namespace(_cluster: Cluster, obj: Object) -> Verdict:
    phase = at(obj, "status", "phase")
    if phase == "Terminating":
        return Verdict("the namespace is being deleted", hopeless=True)
    return READY if phase == "Active" else Verdict("the namespace is not active yet")


def _pod(_cluster: Cluster, obj: Object) -> Verdict:
    phase = at(obj, "status", "phase")
    if phase == "Succeeded" or says(obj, "Ready"):
        return READY
    if phase == "Failed":
        return Verdict("the pod failed", hopeless=True)
    return Verdict(f"the pod is {phase or 'not scheduled yet'} and not ready")


def _definition(_cluster: Cluster, obj: Object) -> Verdict:
    if says(obj, "Established") and says(obj, "NamesAccepted"):
        return READY
    if says(obj, "NamesAccepted", "False"):
        return Verdict(f"its names are taken: {why(obj, 'NamesAccepted')}", hopeless=True)
    return Verdict(why(obj, "Established") or "the API server does not serve it yet")


def _api_service(_cluster: Cluster, obj: Object) -> Verdict:
    return READY if says(obj, "Available") else Verdict(why(obj, "Available") or "not available yet")


NAMESPACE = Awaiter(check=_namespace, seconds=120)
POD = Awaiter(check=_pod, explain=pods.trouble)
DEFINITION = Awaiter(check=_definition, seconds=120)
API_SERVICE = Awaiter(check=_api_service)
