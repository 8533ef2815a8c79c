"""How a pod asks for an accelerator: what it takes, where it goes, and with which container runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pulumi_kubernetes import core

from infra.accelerators import AcceleratorRequest
from infra.environment import Resources
from infra.nodes import Offer
from infra.platform import pods
from infra.platform.device_plugins import NVIDIA_RUNTIME


def amounts(resources: Resources, request: AcceleratorRequest | None) -> core.v1.ResourceRequirementsArgsDict:
    """A container's resources with its devices, of which Kubernetes wants request and limit to be the same."""
    devices = {request.resource: str(request.count)} if request else {}
    return {
        "requests": resources.requests.model_dump() | devices,
        "limits": resources.limits.model_dump() | devices,
    }


def placement(request: AcceleratorRequest | None, offers: Sequence[Offer]) -> dict[str, Any]:
    """The part of a pod's spec that leads it to nodes with the devices and lets it run there; empty without a request.

    The devices alone would lead it there too. By the labels it says so before a node has told of its devices, to people
    and to whatever adds nodes.
    """
    having = [offer for offer in offers if request and offer.accelerator.offers(request.resource)]
    if not having:
        return {}
    terms = [
        {
            "match_expressions": [
                {"key": key, "operator": "In", "values": [value]}
                for key, value in sorted(offer.accelerator.node_selector.items())
            ]
        }
        for offer in having
    ]
    required = {"required_during_scheduling_ignored_during_execution": {"node_selector_terms": terms}}
    nvidia = any(offer.accelerator.plugin == "nvidia" for offer in having)
    return {
        "affinity": {"node_affinity": required},
        **pods.tolerating(sorted({taint for offer in having for taint in offer.taints})),
        **({"runtime_class_name": NVIDIA_RUNTIME} if nvidia else {}),
    }
