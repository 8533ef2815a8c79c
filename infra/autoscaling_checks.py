"""Rules between autoscaling and the rest of an environment: each check yields "key: what is wrong; how to fix it"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from infra import quantities

if TYPE_CHECKING:
    from infra.environment import Environment

KEY: Final = "workloads.inference.autoscaling"


def room(environment: Environment) -> Iterator[str]:
    """There is a number to grow to."""
    inference = environment.workloads.inference
    if inference.autoscaling and inference.autoscaling.max_replicas <= inference.replicas:
        yield (
            f"{KEY}.max_replicas: {inference.autoscaling.max_replicas} is not more than replicas {inference.replicas}, "
            "which is the least; raise it, or leave autoscaling out for a fixed number"
        )


def cpu(environment: Environment) -> Iterator[str]:
    """A replica can use as much as the target."""
    inference = environment.workloads.inference
    if inference.autoscaling is None or (target := inference.autoscaling.target_cpu) is None:
        return
    limit = inference.resources.limits.cpu
    if not 0 < quantities.parse(target) < quantities.parse(limit):
        yield (
            f"{KEY}.target_cpu: {target} is not between 0 and the limit {limit}, so that no replica would reach it; "
            "about half of the limit leaves room for the time that a new replica takes"
        )


def targets(environment: Environment) -> Iterator[str]:
    """Each site has a target, and somebody who measures it."""
    if (autoscaling := environment.workloads.inference.autoscaling) is None:
        return
    by_cpu, by_requests = autoscaling.target_cpu is not None, autoscaling.target_requests_per_second is not None
    if not by_cpu and not by_requests:
        yield (
            f"{KEY}: it has no target, so that the number would never change; add target_cpu, "
            "target_requests_per_second or both, as in environments/local.yaml"
        )
    if by_requests and environment.platform.monitoring is None:
        yield (
            f"{KEY}.target_requests_per_second: Prometheus counts them, but nobody watches the sites; "
            "add the key platform.monitoring, or use target_cpu alone"
        )
    if by_requests and not by_cpu and environment.cloud and environment.cloud.provisioner == "aws":
        yield (
            f"{KEY}.target_requests_per_second: on EKS, whose API servers nothing runs beside, nobody tells them to "
            "the autoscaler; add target_cpu, which the cloud half then goes by"
        )
