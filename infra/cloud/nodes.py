"""What Kubernetes is to know of the nodes of a group, wherever they run; pure functions."""

from __future__ import annotations

from typing import Final

from infra.environment import NodeGroup

GPU_LABEL: Final = {"nvidia.com/gpu.present": "true"}
GPU_TAINT: Final = "nvidia.com/gpu=present:NoSchedule"


def labels(group: NodeGroup) -> dict[str, str]:
    """Labels of the group's nodes."""
    gpu = GPU_LABEL if group.accelerator == "nvidia" else {}
    return {"isthmus/node-group": group.name, **gpu, **group.labels}


def taints(group: NodeGroup) -> list[str]:
    """Taints of the group's nodes, like gpu=true:NoSchedule."""
    gpu = [GPU_TAINT] if group.accelerator == "nvidia" else []
    return [*gpu, *group.taints]
