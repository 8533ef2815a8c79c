"""A training run that asks for an accelerator in the environment file."""

from __future__ import annotations

from infra import nodes
from infra.accelerators import SIMULATED
from infra.environment import Environment
from ops import cluster
from tests.e2e.both_sites import edited


def test_a_training_run_that_asks_for_a_device_runs_where_there_is_one(
    environment: str, settings: Environment, make
) -> None:
    (offer,) = [one for one in nodes.offers(settings, "onprem") if one.accelerator.plugin == "simulated"]
    having = {host.name for host in settings.onprem.hosts if offer.accelerator.selects(host.labels)}
    asking = f"accelerator: {{ resource: {SIMULATED} }}"
    try:
        with edited(environment, "  training:\n", "    site: onprem", f"    {asking}\n    site: onprem"):
            make("up")
            pods = cluster.items(environment, "pods", "-n", "workloads", "-l", "app.kubernetes.io/name=training")
        asked = [pod for pod in pods if SIMULATED in pod["spec"]["containers"][0]["resources"]["limits"]]
        assert [pod["status"]["phase"] for pod in asked] == ["Succeeded"]
        assert {pod["spec"]["nodeName"] for pod in asked} <= having
    finally:
        make("up")  # later tests train without one
