"""What every pod of ours keeps to. Each rule names the parts of a pod that break it; exceptions.py says which may."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from infra.platform.chart import Manifest

LONG_RUNNING: Final = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
OF_THE_HOST: Final = ("hostNetwork", "hostPID", "hostIPC")


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod as its cluster gets it."""

    name: str
    """namespace/app"""
    kind: str
    """Of the object that starts it."""
    spec: dict[str, Any]
    granted: frozenset[str]
    """The service accounts of its cluster, namespace/name, that a binding allows something."""

    @property
    def account(self) -> str:
        return f"{self.name.partition('/')[0]}/{self.spec.get('serviceAccountName', 'default')}"

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def context(self, container: dict[str, Any]) -> dict[str, Any]:
        """What a container runs with: its own security context over its pod's."""
        return {**self.spec.get("securityContext", {}), **container.get("securityContext", {})}


def pods(cluster: Iterable[Manifest]) -> list[Pod]:
    """The pods that the objects of a cluster start."""
    objects = list(cluster)
    accounts = {_name(one) for one in objects if one["kind"] == "ServiceAccount"}
    bound = {
        f"{subject['namespace']}/{subject['name']}"
        for one in objects
        if one["kind"] in ("RoleBinding", "ClusterRoleBinding")
        for subject in one["subjects"]
        if subject["kind"] == "ServiceAccount"
    }
    return [
        Pod(name=_name(one, labels), kind=one["kind"], spec=spec, granted=frozenset(accounts & bound))
        for one in objects
        if one["kind"] != "CustomResourceDefinition"
        for labels, spec in _specs(one)
    ]


def _name(manifest: Manifest, labels: dict[str, str] | None = None) -> str:
    """namespace/app, or the object's own name where a label does not name the app."""
    metadata = manifest["metadata"]
    return f"{metadata['namespace']}/{(labels or {}).get('app.kubernetes.io/name', metadata['name'])}"


def _specs(value: Any) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """(labels, spec) of every pod in an object, however deep: a template, a job's template, or the object itself."""
    if not isinstance(value, dict):
        return
    spec = value.get("spec")
    if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
        yield value.get("metadata", {}).get("labels", {}), spec
    for entry in value.values():
        yield from _specs(entry)


def bounded(pod: Pod) -> Iterator[str]:
    """Every container is promised processor and memory, and may take so much of both and no more."""
    for one in pod.containers:
        for bound in ("requests", "limits"):
            for what in ("cpu", "memory"):
                if what not in one.get("resources", {}).get(bound, {}):
                    yield f"{one['name']}: {bound} of {what}"


def probed(pod: Pod) -> Iterator[str]:
    """Who runs on and on is asked whether it is ready, and whether it is alive."""
    for one in pod.spec["containers"] if pod.kind in LONG_RUNNING else ():
        for probe in ("readinessProbe", "livenessProbe"):
            if not one.get(probe):
                yield f"{one['name']}: {probe}"


def noticed(pod: Pod) -> Iterator[str]:
    """Who has started is seen to be ready within five seconds, also where the first look came too soon.

    The kubelet looks as soon as a container runs, then once a period; at readiness also when startup is over.
    """
    for one in pod.spec["containers"] if pod.kind in LONG_RUNNING else ():
        first = one.get("startupProbe") or one.get("readinessProbe")
        if first and first.get("periodSeconds", 10) > 5:
            yield one["name"]


def not_root(pod: Pod) -> Iterator[str]:
    """No container is root, nor could be if its image said so."""
    for one in pod.containers:
        context = pod.context(one)
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
            yield one["name"]


def powerless(pod: Pod) -> Iterator[str]:
    """No container can become more than it is, holds a part of root's power, or calls what the runtime filters."""
    for one in pod.containers:
        context = pod.context(one)
        capabilities = context.get("capabilities", {})
        if context.get("privileged"):
            yield f"{one['name']}: privileged"
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{one['name']}: allowPrivilegeEscalation"
        if "ALL" not in capabilities.get("drop", []) or capabilities.get("add"):
            yield f"{one['name']}: capabilities"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{one['name']}: seccompProfile"


def read_only(pod: Pod) -> Iterator[str]:
    """No container writes to its image's files."""
    for one in pod.containers:
        if pod.context(one).get("readOnlyRootFilesystem") is not True:
            yield one["name"]


def pinned(pod: Pod) -> Iterator[str]:
    """What was reviewed is what runs, whatever a tag says later."""
    for one in pod.containers:
        if not re.search(r"@sha256:[0-9a-f]{64}$", one["image"]):
            yield one["name"]


def keyless(pod: Pod) -> Iterator[str]:
    """No pod holds a key to the API but by an account of its own that a binding allows something."""
    if pod.spec.get("automountServiceAccountToken") is not False and pod.account not in pod.granted:
        yield pod.account


def apart(pod: Pod) -> Iterator[str]:
    """No pod sees its host's network, processes or files."""
    yield from (name for name in OF_THE_HOST if pod.spec.get(name))
    for volume in pod.spec.get("volumes", []):
        if "hostPath" in volume:
            yield volume["hostPath"]["path"]
    for one in pod.containers:
        if any("hostPort" in port for port in one.get("ports", [])):
            yield f"{one['name']}: hostPort"


Rule = Callable[[Pod], Iterator[str]]

RULES: Final[tuple[Rule, ...]] = (bounded, probed, noticed, not_root, powerless, read_only, pinned, keyless, apart)


def broken(cluster: Iterable[Manifest], which: Iterable[Rule] = RULES) -> set[tuple[str, str, str]]:
    """(rule, pod, part) of all that breaks one of the rules."""
    started = pods(cluster)
    return {(rule.__name__, pod.name, part) for rule in which for pod in started for part in rule(pod)}
