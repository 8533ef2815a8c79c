"""Why pods do not run, in words: container states, the last lines of logs, scheduling, events."""

from __future__ import annotations

from typing import Any

from infra.providers.offline.kubernetes.awaiting.verdict import Object, condition, says
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.kubernetes.kinds import EVENT, TABLE
from infra.providers.offline.values import at

POD = TABLE["kubernetes:core/v1:Pod"]
PODS_SHOWN = 3
EVENTS_SHOWN = 3
LOG_LINES = 8
_STARTING = frozenset({"ContainerCreating", "PodInitializing"})


def selector_text(selector: dict[str, Any]) -> str:
    """A label selector as the API takes it in a query."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or []:
        key, values = rule["key"], ",".join(rule.get("values") or [])
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[rule["operator"]]
        )
    return ",".join(parts)


def troubles(cluster: Cluster, namespace: str, labels: str) -> list[str]:
    """What keeps the chosen pods from being ready; says at most a few pods."""
    found: list[str] = []
    for pod in cluster.find(POD, namespace, labels=labels):
        if says(pod, "Ready") or at(pod, "status", "phase") == "Succeeded":
            continue
        found += trouble(cluster, pod)
        if len(found) >= PODS_SHOWN:
            break
    return found


def trouble(cluster: Cluster, pod: Object) -> list[str]:
    """What keeps one pod from being ready, one entry for each cause."""
    name = f"pod {pod['metadata']['name']}"
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return [f"{name}: {scheduled.get('reason')}: {scheduled.get('message')}"]
    found = []
    statuses = (at(pod, "status", "initContainerStatuses") or []) + (at(pod, "status", "containerStatuses") or [])
    for status in statuses:
        if text := _container(cluster, pod, status):
            found.append(f"{name}, container {status['name']}: {text}")
    if not found:
        found = [f"{name}: {event}" for event in events(cluster, pod)]
    if not found and (message := at(pod, "status", "message")):
        found = [f"{name}: {message}"]
    return found


def _container(cluster: Cluster, pod: Object, status: dict[str, Any]) -> str:
    state = status.get("state") or {}
    waiting, terminated = state.get("waiting"), state.get("terminated")
    before = at(status, "lastState", "terminated")
    if waiting and waiting.get("reason") not in _STARTING:
        text = ": ".join(part for part in (waiting.get("reason"), waiting.get("message")) if part)
        return text + (_ended(cluster, pod, status, before, previous=True) if before else "")
    if terminated and terminated.get("exitCode") != 0:
        return "ended" + _ended(cluster, pod, status, terminated, previous=False)
    if state.get("running") and not status.get("ready"):
        probe = next(iter(events(cluster, pod)), "its readiness probe has not succeeded yet")
        return f"runs, but is not ready: {probe}"
    return ""


def _ended(cluster: Cluster, pod: Object, status: dict[str, Any], end: dict[str, Any], *, previous: bool) -> str:
    metadata = pod["metadata"]
    lines = cluster.logs(metadata["namespace"], metadata["name"], status["name"], lines=LOG_LINES, previous=previous)
    log = "".join(f"\n    | {line}" for line in lines)
    cause = f", {end['reason']}" if end.get("reason") not in (None, "Error") else ""
    return f" (exit code {end.get('exitCode')}{cause}, {status.get('restartCount', 0)} restarts){log}"


def events(cluster: Cluster, obj: Object) -> list[str]:
    """The last warnings about an object."""
    metadata = obj["metadata"]
    fields = f"involvedObject.uid={metadata['uid']},type=Warning"
    found = cluster.find(EVENT, metadata.get("namespace") or "default", fields=fields)
    found.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "", reverse=True)
    texts = [f"{event.get('reason')}: {event.get('message')}" for event in found]
    return list(dict.fromkeys(texts))[:EVENTS_SHOWN]
