"""The sites of an environment that run clusters which the commands can ask."""

from __future__ import annotations

from infra.cloud import lab_site
from infra.environment import Environment, Onprem
from ops.console import Failure


def of(settings: Environment) -> dict[str, Onprem]:
    """Name -> hosts and network: on-prem, and the cloud half where lab machines are in Amazon's place."""
    found = {"onprem": settings.onprem}
    if settings.cloud and settings.cloud.provisioner == "lab":
        found["cloud"] = lab_site.site(settings.cloud)
    return found


def one(settings: Environment, name: str) -> Onprem:
    """The site of that name, or a Failure that lists them."""
    found = of(settings)
    if name not in found:
        known = ", ".join(found)
        raise Failure(f"environment {settings.name} has no site {name!r} here", fix=f"SITE is one of {known}")
    return found[name]
