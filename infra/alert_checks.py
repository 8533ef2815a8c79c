"""Rules of receivers between the keys of an environment: each yields "key: what is wrong; how to fix it"."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from infra.alerts import Receiver

if TYPE_CHECKING:
    from infra.environment import Environment

KEY = "platform.monitoring.alerts"


def _entries(environment: Environment) -> list[tuple[str, Receiver]]:
    monitoring = environment.platform.monitoring
    alerts = monitoring.alerts if monitoring else None
    return [(f"{KEY}.receivers[{at}]", one) for at, one in enumerate(alerts.receivers)] if alerts else []


def names(environment: Environment) -> Iterator[str]:
    """Each names a secret."""
    for (first, one), (other, second) in combinations(_entries(environment), 2):
        if one.name == second.name:
            yield f"{other}.name: {second.name} is also the name of {first}; give every receiver its own name"


def ways(environment: Environment) -> Iterator[str]:
    """A receiver is told in one way, at a host that the cluster can find."""
    for key, one in _entries(environment):
        if len(one.ways) != 1:
            yield (
                f"{key}: {one.name} is told in {len(one.ways)} ways; give it one of webhook, slack and mail, "
                "and a receiver to each other way"
            )
        elif one.networks and one.way.address:
            yield f"{key}.networks: {one.name} is at the address {one.way.address}, which is enough; remove the key"


def resolvers(environment: Environment) -> Iterator[str]:
    """The cluster's DNS knows the cluster alone, unless somebody is named who knows more."""
    entries = [one for _, one in _entries(environment)]
    monitoring = environment.platform.monitoring
    if not entries or any(len(one.ways) != 1 for one in entries) or not monitoring or not monitoring.alerts:
        return
    if monitoring.alerts.names and not monitoring.alerts.resolvers:
        yield (
            f"{KEY}.resolvers: nobody in the cluster can look up {monitoring.alerts.names[0]}; "
            "name the site's DNS servers, or write the host as an address"
        )


def heard(environment: Environment) -> Iterator[str]:
    """What is urgent is heard by somebody."""
    entries = _entries(environment)
    if entries and not any("critical" in one.severities for _, one in entries):
        yield f"{KEY}.receivers: nobody hears of critical alerts; add critical to somebody's severities"
