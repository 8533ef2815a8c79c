"""What every pod of the program has in common: how it is named, confined, bounded and spread."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core, meta

from infra.artifacts import Artifact
from infra.environment import Resources
from infra.naming import LABELS
from infra.platform.cluster import Cluster

USER: Final = 65532
"""Unprivileged user and group of our containers; no account of a host has it."""

HOSTNAME: Final = "kubernetes.io/hostname"

PRIVILEGED: Final = {"pod-security.kubernetes.io/enforce": "privileged"}
"""On a namespace whose pods are part of their hosts."""

RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}
"""On a namespace: Kubernetes refuses any pod there that could harm its host."""


def selector(app: str) -> dict[str, str]:
    """The label that finds the pods of an app."""
    return {"app.kubernetes.io/name": app}


def metadata(
    app: str, *, name: str | None = None, namespace: str | None = None, annotations: dict[str, str] | None = None
) -> meta.v1.ObjectMetaArgsDict:
    """An object's metadata, labelled as the app's; its name is the app's unless given."""
    result: meta.v1.ObjectMetaArgsDict = {"name": name or app, "labels": selector(app) | LABELS}
    if namespace:
        result["namespace"] = namespace
    if annotations:
        result["annotations"] = annotations
    return result


RERUN_FAILED: Final = {"pulumi.com/replaceUnready": "true"}
"""On a Job: one that failed is made anew by the next `up`, instead of being waited for again."""

TAKE_OVER: Final = {"pulumi.com/patchForce": "true"}
"""Fields that somebody else has set are set to what the program says, instead of a refusal to touch them."""


def content_name(prefix: str, content: Any) -> str:
    """A name that changes with the content, so that who refers to it is rolled and what ran under it runs again."""
    text = json.dumps(content, sort_keys=True)
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def fingerprint(*secrets: pulumi.Input[str]) -> pulumi.Output[str]:
    """A plain mark that changes when a secret does. Secrets are long and random, so it gives nothing away."""
    mark = pulumi.Output.all(*secrets).apply(lambda all_: hashlib.sha256("\n".join(all_).encode()).hexdigest()[:10])
    return pulumi.Output.unsecret(mark)


def image(artifact: Artifact) -> str:
    """An image by name and digest: what was reviewed is what runs, whatever the tag says later."""
    return f"{artifact.image}@{artifact.digest}"


def unprivileged(user: int = USER) -> core.v1.PodSecurityContextArgsDict:
    """A pod's security context: no root, the runtime's system call filter, volumes given to the pod's group."""
    return {
        "run_as_non_root": True,
        "run_as_user": user,
        "run_as_group": user,
        "fs_group": user,
        # Without this the kubelet walks through a whole volume at each start.
        "fs_group_change_policy": "OnRootMismatch",
        "seccomp_profile": {"type": "RuntimeDefault"},
    }


def locked() -> core.v1.SecurityContextArgsDict:
    """A container's security context: nothing to gain, nothing to write to but its volumes."""
    return {
        "allow_privilege_escalation": False,
        "read_only_root_filesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def amounts(resources: Resources) -> core.v1.ResourceRequirementsArgsDict:
    """What a container is promised and what it may take at most."""
    return {"requests": resources.requests.model_dump(), "limits": resources.limits.model_dump()}


def apart(app: str, *, replicas: int, cluster: Cluster) -> list[core.v1.TopologySpreadConstraintArgsDict]:
    """Spreads a Deployment's replicas over the hosts that take any pod; where those are enough, each has its own.

    Each rollout is spread by itself: a new pod may start beside an old one, so that a rollout needs no spare host.
    Where hosts are enough, dead or booting ones count: a pod waits for one of them rather than join its like on the
    last host, where it would stay, and go down with it. Where they are not, only those count that a pod may start on;
    also where some nodes keep pods away for good: Kubernetes can't tell these from dead ones, and would wait for a pod
    on each before a second one starts anywhere.
    """
    enough = len(cluster.workers) >= replicas and not cluster.tainted
    return [
        {
            "max_skew": 1,
            "topology_key": HOSTNAME,
            "when_unsatisfiable": "DoNotSchedule",
            "label_selector": {"match_labels": selector(app)},
            "match_label_keys": ["pod-template-hash"],
            "node_affinity_policy": "Honor",
            "node_taints_policy": "Ignore" if enough else "Honor",
        }
    ]


def tolerating(taints: Sequence[str]) -> dict[str, list[core.v1.TolerationArgsDict]]:
    """The part of a pod's spec that lets it run in spite of taints like gpu=true:NoSchedule; empty without any."""
    return {"tolerations": [_toleration(taint) for taint in taints]} if taints else {}


def _toleration(taint: str) -> core.v1.TolerationArgsDict:
    pair, _, effect = taint.rpartition(":")
    key, equals, value = pair.partition("=")
    if not equals:
        return {"key": key, "operator": "Exists", "effect": effect}
    return {"key": key, "operator": "Equal", "value": value, "effect": effect}


def leaving_soon() -> list[core.v1.TolerationArgsDict]:
    """Tolerations of a pod that has no state to lose: on a lost host it is replaced soon after that is known."""
    return [
        {"key": f"node.kubernetes.io/{fault}", "effect": "NoExecute", "operator": "Exists", "toleration_seconds": 5}
        for fault in ("not-ready", "unreachable")
    ]


def probe(path: str, port: str, *, period: int, failures: int) -> core.v1.ProbeArgsDict:
    """A question that a container answers at a named port, each `period` seconds."""
    return {
        "http_get": {"path": path, "port": port},
        "period_seconds": period,
        "timeout_seconds": 3,
        "failure_threshold": failures,
    }


def scratch(name: str, size: str) -> core.v1.VolumeArgsDict:
    """A bounded place for temporary files."""
    return {"name": name, "empty_dir": {"size_limit": size}}


def host_folder(name: str, path: str, kind: str = "Directory") -> core.v1.VolumeArgsDict:
    """A folder of the host; unless the kind says otherwise the pod waits until it is there."""
    return {"name": name, "host_path": {"path": path, "type": kind}}


def mounted_secret(name: str, secret: str, *keys: str) -> core.v1.VolumeArgsDict:
    """Keys of a Secret as files that only the pod's user and group can read."""
    items: list[core.v1.KeyToPathArgsDict] = [{"key": key, "path": key} for key in keys]
    return {"name": name, "secret": {"secret_name": secret, "items": items, "default_mode": 0o440}}
