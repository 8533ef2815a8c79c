"""Accelerators: what an environment says of devices that pods ask for by the name of an extended resource.

Models of `platform.accelerators` and `workloads.training.accelerator`, and what follows from an entry alone. The rules
between keys are in accelerator_checks.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field

from infra.environment_values import Model

NVIDIA: Final = "nvidia.com/gpu"
"""What NVIDIA's plugin offers: whole devices, their time slices, or, with mig_strategy single, their MIG parts."""

NVIDIA_PART: Final = re.compile(r"nvidia\.com/mig-\d+g\.\d+gb(\.me)?")
"""What it offers beside that with mig_strategy mixed: a name for each size of part."""

SIMULATED: Final = "example.com/resource"
SIMULATED_DRA: Final = "example.com/gpu"
SIMULATIONS: Final = {"simulated": SIMULATED, "simulated-dra": SIMULATED_DRA}
"""Plugin of a lab -> what it offers."""

SIMULATED_DEVICES: Final = 2
"""Of each on each host. Number and name are fixed in upstream's sample device plugin."""

IMAGES: Final = {
    "nvidia": "nvidia-device-plugin",
    "simulated": "sample-device-plugin",
    "simulated-dra": "dra-example-driver",
}
"""Plugin -> its image in the mirror's catalog."""


class Accelerator(Model):
    """Devices of one kind; every host that the selector finds has them, on either site."""

    name: str = Field(pattern=r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", description="of its device plugin in the cluster")
    plugin: Literal["nvidia", "simulated", "simulated-dra"] = Field(
        description=(
            "nvidia offers nvidia.com/gpu; in a lab simulated offers two devices a host as example.com/resource, "
            "and simulated-dra, by dynamic resource allocation, two as example.com/gpu"
        )
    )
    node_selector: dict[str, str] = Field(min_length=1, description="labels of the hosts and node groups that have it")
    time_slicing: int | None = Field(
        default=None, ge=2, le=48, description="nvidia: so many pods take turns on a device; one each without it"
    )
    mig_strategy: Literal["none", "single", "mixed"] = Field(
        default="none", description="nvidia: how MIG parts are offered, as nvidia.com/gpu or as nvidia.com/mig-<size>"
    )

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a node with these labels has the devices."""
        return self.node_selector.items() <= labels.items()

    def offers(self, resource: str) -> bool:
        """Whether pods can ask for these devices by that name."""
        if self.plugin in SIMULATIONS:
            return resource == SIMULATIONS[self.plugin]
        return resource == NVIDIA or (self.mig_strategy == "mixed" and bool(NVIDIA_PART.fullmatch(resource)))


class AcceleratorRequest(Model):
    """What one pod asks for. It waits while all devices are taken."""

    resource: str = Field(pattern=r"^[a-z0-9.-]+/[a-z0-9._-]+$", description="such as nvidia.com/gpu")
    count: int = Field(default=1, ge=1, le=16, description="devices of one host")
