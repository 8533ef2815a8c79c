"""Settings of the mesh's API server, as values of Cilium's chart: what differs from its defaults, and why."""

from __future__ import annotations

import re
from typing import Any, Final

from infra.platform import pods
from infra.platform.cluster import Cluster

APP: Final = "clustermesh-apiserver"
MOST: Final = 2
"""Each replica has all that it tells in an etcd of its own: a third one would be no help when one is lost."""

SCRATCH: Final = {"tmp": "/tmp", "run": "/var/run/cilium"}
"""Where the programs put sockets for diagnostics: volume -> mount path."""


def values(image: str, certificate: str, cluster: Cluster) -> dict[str, Any]:
    """Values below `clustermesh`. Another `certificate`, a mark of it, starts the pods anew."""
    replicas = min(MOST, len(cluster.workers))
    return {
        "useAPIServer": True,
        "apiserver": {
            "image": {"override": image, "pullPolicy": "IfNotPresent"},
            "replicas": replicas,
            "topologySpreadConstraints": _camel_case(pods.apart(APP, replicas=replicas, cluster=cluster)),
            "podDisruptionBudget": {"enabled": replicas > 1},
            # Agents ask the other site themselves, as processes of their hosts. What would ask for them is a pod, and
            # one on the host that ends the tunnels leaves the site under its own address, which the other end drops.
            "kvstoremesh": {"enabled": False},
            # Both are ours (mesh.py): the chart makes new certificates at each rendering.
            "service": {"externallyCreated": True},
            # Legacy: the two clusters ask each other as one user, who may read.
            "tls": {"authMode": "legacy", "auto": {"enabled": False}, "enableSecrets": False},
            "metrics": {"enabled": False, "kvstoremesh": {"enabled": False}, "etcd": {"enabled": False}},
            "podAnnotations": {"isthmus.dev/certificate": certificate},
            "podSecurityContext": {
                "runAsNonRoot": True,
                "runAsUser": pods.USER,
                "runAsGroup": pods.USER,
                "fsGroup": pods.USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "securityContext": _locked(),
            "resources": _amounts("10m", "64Mi", "256Mi"),
            "etcd": {
                "securityContext": _locked(),
                "resources": _amounts("20m", "64Mi", "256Mi"),
                "init": {"resources": _amounts("10m", "64Mi", "256Mi")},
            },
            "extraVolumes": [{"name": name, "emptyDir": {"sizeLimit": "16Mi"}} for name in SCRATCH],
            "extraVolumeMounts": [{"name": name, "mountPath": path} for name, path in SCRATCH.items()],
            # It keeps nothing: one that starts reads all from the API again, so it leaves a lost host soon.
            "terminationGracePeriodSeconds": 5,
            "tolerations": [
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
                for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
            ],
        },
    }


def _camel_case(value: Any) -> Any:
    """What Pulumi calls max_skew is maxSkew to a chart."""
    if isinstance(value, dict):
        return {re.sub("_(.)", lambda found: found[1].upper(), key): _camel_case(one) for key, one in value.items()}
    return [_camel_case(one) for one in value] if isinstance(value, list) else value


def _locked() -> dict[str, Any]:
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def _amounts(cpu: str, memory: str, most: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "500m", "memory": most}}
