"""Who goes first when a site is short of room: the object store before serving, then monitoring, then training."""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_kubernetes import scheduling

from infra.platform import pods

STORAGE: Final = "isthmus-storage"
SERVING: Final = "isthmus-serving"
MONITORING: Final = "isthmus-monitoring"
BATCH: Final = "isthmus-batch"

_CLASSES: Final = {
    STORAGE: (1_000_000, "PreemptLowerPriority", "What everything else reads and writes"),
    SERVING: (100_000, "PreemptLowerPriority", "Answers that somebody waits for"),
    MONITORING: (10_000, "PreemptLowerPriority", "What tells people that something is wrong"),
    BATCH: (1_000, "Never", "Runs that can wait, and are repeated when they are interrupted"),
}


class Priorities(pulumi.ComponentResource):
    """The site's priority classes."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Priorities", name, None, opts)
        for priority, (value, preemption, description) in _CLASSES.items():
            scheduling.v1.PriorityClass(
                priority,
                metadata=pods.metadata(priority),
                value=value,
                preemption_policy=preemption,
                description=description,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})
