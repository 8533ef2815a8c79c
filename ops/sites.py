"""The sites of an environment: which there are, what hosts they have, and where their models are asked."""

from __future__ import annotations

import json

from infra import addressing
from infra.cloud import lab_site
from infra.environment import Environment, Onprem
from ops import engine
from ops.console import Failure


def named(settings: Environment) -> tuple[str, ...]:
    """On-prem, and the cloud half, be it Amazon's or a lab's."""
    return ("onprem", "cloud") if settings.cloud else ("onprem",)


def of(settings: Environment) -> dict[str, Onprem]:
    """Name -> hosts and network: on-prem, and the cloud half where lab machines are in Amazon's place."""
    found = {"onprem": settings.onprem}
    if settings.cloud and settings.cloud.provisioner == "lab":
        found["cloud"] = lab_site.site(settings.cloud)
    return found


def one(settings: Environment, name: str) -> Onprem:
    """The site of that name, one of hosts, or a Failure that lists them."""
    found = of(settings)
    if name not in found:
        raise _unknown(settings, name, tuple(found))
    return found[name]


def check(settings: Environment, name: str) -> None:
    """A Failure that lists the sites where there is none of that name."""
    if name not in named(settings):
        raise _unknown(settings, name, named(settings))


def ingress_url(settings: Environment, name: str) -> str:
    """Where a site's model is asked: at an address of the file's, or, at Amazon, a name that the stack has learnt.

    That name is its internal load balancer's, which answers in the VPC and through the link alone.
    """
    check(settings, name)
    if site := of(settings).get(name):
        return addressing.ingress_url(site.network)
    shown = engine.pulumi(settings.name, "stack", "output", "--json", "--stack", settings.name).stdout
    url = json.loads(shown).get("cloud_ingress_url")
    if not url:
        raise Failure(f"the stack {settings.name} has no cloud_ingress_url yet", fix=f"make up ENV={settings.name}")
    return str(url)


def _unknown(settings: Environment, name: str, known: tuple[str, ...]) -> Failure:
    return Failure(f"environment {settings.name} has no site {name!r} here", fix=f"SITE is one of {', '.join(known)}")
