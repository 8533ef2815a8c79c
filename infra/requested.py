"""What of the mirror an environment asks for beside what every environment has: the catalog's entries `on_request`."""

from __future__ import annotations

from infra.accelerators import IMAGES
from infra.environment import Environment
from infra.naming import CUSTOM_METRICS, GRAFANA, LAB_STORAGE, MESH_IMAGE, MONITORING, SNAPSHOTS, STATUS


def artifacts(environment: Environment) -> list[str]:
    """Names of artefacts; what they are made of comes with them."""
    platform = environment.platform
    wanted = {IMAGES[one.plugin] for one in platform.accelerators}
    if platform.storage:
        wanted |= {*SNAPSHOTS, *(LAB_STORAGE if platform.storage.lab else ())}
    if platform.monitoring:
        wanted |= {*MONITORING, *((GRAFANA,) if platform.monitoring.grafana else ())}
    if environment.workloads.inference.scales_by_requests:
        wanted.add(CUSTOM_METRICS)
    if platform.status:
        wanted.add(STATUS)
    if environment.cloud:
        wanted.add(MESH_IMAGE)
    return sorted(wanted)
