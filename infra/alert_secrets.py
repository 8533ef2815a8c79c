"""The secrets of receivers, out of the stack's configuration, where `pulumi config set --secret` put them encrypted.

They are looked at before anything is made, so that a site is not built half for want of one. What is wrong with one is
told without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import pulumi

from infra.alerts import Mail, Receiver, Way
from infra.environment import Environment
from infra.settings import NotSetUp

PORTS = {"http": 80, "https": 443}


def of(environment: Environment, *, preview: bool) -> Mapping[str, pulumi.Output[str]]:
    """Name of a receiver -> its secret, of those that have one; raises NotSetUp.

    A preview goes on without them: who reviews a change need not hold them.
    """
    alerts = environment.platform.monitoring and environment.platform.monitoring.alerts
    found: dict[str, pulumi.Output[str]] = {}
    for receiver in alerts.receivers if alerts else ():
        if (key := receiver.secret_key) is None:
            continue
        value = stored(key)
        problem = _problem(receiver, value)
        if problem and not preview:
            raise NotSetUp(f"{problem}. {_fix(environment.name, key)}")
        if problem:
            pulumi.log.warn(f"{problem}. Before `make up`: {_fix(environment.name, key)}")
        found[receiver.name] = pulumi.Output.secret(value or "")
    return found


def stored(key: str) -> str | None:
    """A secret of the stack's configuration, as it is: who hands it on marks it. Raises NotSetUp for one in plain."""
    name = f"{pulumi.get_project()}:{key}"
    value = pulumi.runtime.get_config(name)
    if value is not None and not pulumi.runtime.is_config_secret(name):
        raise NotSetUp(f"{key} is a secret, and is in the stack's configuration in plain; set it anew with --secret")
    return value


def _problem(receiver: Receiver, value: str | None) -> str | None:
    if not value:
        what = "password" if receiver.mail else "URL"
        return f"the {what} of the receiver {receiver.name} is not set"
    if isinstance(receiver.way, Mail):
        return None
    if not _leads_to(receiver.way, value):
        where = f"{receiver.way.host}:{receiver.way.port}"
        return f"the URL of the receiver {receiver.name} does not lead to {where}, which the environment file names"
    return None


def _leads_to(way: Way, url: str) -> bool:
    """Whether the URL is at the host and port that the network policy lets Alertmanager out to."""
    try:
        parts: SplitResult = urlsplit(url.strip())
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return False
    return parts.scheme in PORTS and (parts.hostname, port) == (way.host, way.port)


def _fix(environment: str, key: str) -> str:
    return (
        f'Set it, from standard input: eval "$(make -s env ENV={environment})"; '
        f"pulumi config set --secret --stack {environment} {key}"
    )
