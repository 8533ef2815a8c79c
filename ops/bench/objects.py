"""The objects of the volumes' benchmark: a namespace that is as closed as ours, and pods and claims in it."""

from __future__ import annotations

from typing import Any, Final

from infra.naming import STORAGE_CLASS

NAMESPACE: Final = "bench-volumes"
PYTHON: Final = "/usr/bin/python3.11"
FOLDER: Final = "/data"
USER: Final = 65532
LIVES_S: Final = 1800
"""A pod ends by itself, also where a run was killed before it could remove it."""

Object = dict[str, Any]

_LABELS: Final = {"app.kubernetes.io/name": NAMESPACE}


def namespace() -> list[Object]:
    """Restricted pods, and no traffic: they need none."""
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": _LABELS | {"pod-security.kubernetes.io/enforce": "restricted"}},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata("deny-all"),
            "spec": closed,
        },
    ]


def claim(name: str, size: int) -> Object:
    """A claim of the default class for so many bytes."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(name),
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": str(size)}},
        },
    }


def pod(name: str, *, node: str, image: str, program: str, claimed: str | None) -> Object:
    """A pod of a node that runs a Python program once, with a claim's volume at FOLDER, or one of the node's own.

    Its image must be there: a pull would be measured otherwise. It may take what no program of ours does, because the
    same program on the host is not held back either; a file's pages in memory count as the pod's.
    """
    source: Object = {"persistentVolumeClaim": {"claimName": claimed}} if claimed else {"emptyDir": {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(name),
        "spec": {
            # Not nodeName: the scheduler has its part in the start, and waits for the claim.
            "nodeSelector": {"kubernetes.io/hostname": node},
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "activeDeadlineSeconds": LIVES_S,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "command": [PYTHON, "-c", program],
                    "volumeMounts": [{"name": "data", "mountPath": FOLDER}],
                    "resources": {
                        "requests": {"cpu": "250m", "memory": "64Mi"},
                        "limits": {"cpu": "4", "memory": "4Gi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
            "volumes": [{"name": "data", **source}],
        },
    }


def _metadata(name: str) -> Object:
    return {"name": name, "namespace": NAMESPACE, "labels": _LABELS}
