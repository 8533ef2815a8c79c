"""How many replicas of inference there are, where the number follows the load; part of the model of an environment."""

from __future__ import annotations

from pydantic import Field

from infra.environment_values import Model, Quantity


class Autoscaling(Model):
    """One target or both; the one that asks for more replicas wins.

    CPU is an amount, not a share of the request: what is promised says little of what a replica does at its best.
    """

    max_replicas: int = Field(ge=3, le=32, description="how many there are at most; `replicas` is then the least")
    target_cpu: Quantity | None = Field(
        default=None, description="cores that each replica uses on average; above it there are more"
    )
    target_requests_per_second: float | None = Field(
        default=None,
        ge=0.001,
        le=1_000_000,
        description="requests that each replica answers on average; above it there are more; it needs monitoring, "
        "and has no effect on EKS",
    )
    shrink_after_seconds: int = Field(
        default=300, ge=60, le=3600, description="for how long fewer must have been enough before there are fewer"
    )
