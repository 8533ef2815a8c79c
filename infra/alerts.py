"""Receivers: what an environment says of whom alerts are sent to.

Models of `platform.monitoring.alerts`, and what follows from a receiver alone. The rules between keys are in
alert_checks.py. A receiver's secret (the URL of a webhook, the password of a mail account) is no part of the file: the
stack's configuration has it, encrypted, under `secret_key`.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import Annotated, Literal

from pydantic import Field

from infra.environment_values import Address, Email, Label, Model, Network, Port

Severity = Literal["critical", "warning"]
"""critical: somebody is to look now. warning: somebody is to look when there is time."""

HostName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", examples=["hooks.slack.com", "10.20.0.9"])
]


class Way(Model):
    """Where a way to tell somebody begins."""

    host: HostName = Field(description="its name or address")
    port: Port = 443

    @property
    def address(self) -> IPv4Address | None:
        """The host, if it is given as an address, which needs no DNS."""
        try:
            return IPv4Address(self.host)
        except AddressValueError:
            return None


class Webhook(Way):
    """Alertmanager's own JSON, posted to a URL at that host and port. The URL is a secret."""


class Slack(Way):
    """A message, by an incoming webhook of Slack or of what takes the same. Its URL is a secret."""

    host: HostName = "hooks.slack.com"
    channel: str = Field(pattern=r"^[#@]\S{1,79}$", description="such as #alerts")


class Mail(Way):
    """A mail, through a server that takes it on over TLS (port 465) or STARTTLS."""

    port: Port = 587
    sender: Email
    to: tuple[Email, ...] = Field(min_length=1, strict=False)
    user: str | None = Field(
        default=None, min_length=1, description="who signs in there; its password is a secret; without it nobody does"
    )


class Receiver(Model):
    """Somebody who is told, in one of the three ways."""

    name: Label
    severities: tuple[Severity, ...] = Field(
        default=("critical", "warning"), min_length=1, strict=False, description="of which alerts"
    )
    webhook: Webhook | None = None
    slack: Slack | None = None
    mail: Mail | None = None
    networks: tuple[Network, ...] = Field(
        default=(),
        strict=False,
        description="where the host's name leads to, for the network policy; without it anywhere outside the cluster",
    )

    @property
    def ways(self) -> list[Way]:
        """All that are given."""
        return [way for way in (self.webhook, self.slack, self.mail) if way]

    @property
    def way(self) -> Way:
        """The one that a checked environment gives."""
        (way,) = self.ways
        return way

    @property
    def secret_key(self) -> str | None:
        """Where the stack's configuration has the receiver's secret; None for one that has none."""
        return None if self.mail and not self.mail.user else f"alerts-{self.name}"


class Alerts(Model):
    receivers: tuple[Receiver, ...] = Field(min_length=1, strict=False)
    resolvers: tuple[Address, ...] = Field(
        default=(), strict=False, description="DNS servers that the cluster asks for the receivers' hosts alone"
    )

    @property
    def names(self) -> list[str]:
        """The hosts that DNS has to know, each once."""
        return sorted({one.way.host for one in self.receivers if one.way.address is None})
