"""Whom Alertmanager tells, how, and how it gets there; pure functions of the environment's receivers."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Any, Final

from infra.alerts import Alerts, Receiver, Severity
from infra.platform import policies
from infra.platform.cluster import Cluster

SECRETS_PATH: Final = "/etc/alertmanager-secrets"
"""Not below the configuration's folder: nothing can be mounted inside what is mounted read-only."""

PACE: Final[dict[Severity, dict[str, str]]] = {
    # Ten seconds: several hosts of one fault are one message, and nobody waits.
    "critical": {"group_wait": "10s", "repeat_interval": "4h"},
    # Longer than a fault takes to be known by its own alert, which mutes what follows from it.
    "warning": {"group_wait": "1m", "repeat_interval": "24h"},
}

_TITLE: Final = "[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }} at {{ .CommonLabels.cluster }}"
_TEXT: Final = "{{ range .Alerts }}{{ .Annotations.summary }} ({{ .Annotations.runbook_url }})\n{{ end }}"


def routes(alerts: Alerts) -> list[dict[str, Any]]:
    """Each receiver hears of what it asked for, whoever else does."""
    return [
        {"receiver": one.name, "matchers": [f'severity="{severity}"'], **PACE[severity], "continue": True}
        for one in alerts.receivers
        for severity in one.severities
    ]


def receivers(alerts: Alerts, *, secrets_at: str = SECRETS_PATH) -> list[dict[str, Any]]:
    """As Alertmanager's configuration has them. What is secret is read from a file named as the receiver."""
    return [{"name": one.name, **_way(one, f"{secrets_at}/{one.name}")} for one in alerts.receivers]


def _way(one: Receiver, secret: str) -> dict[str, Any]:
    if one.webhook:
        return {"webhook_configs": [{"url_file": secret, "send_resolved": True}]}
    if one.slack:
        message = {"channel": one.slack.channel, "title": _TITLE, "text": _TEXT}
        return {"slack_configs": [{"api_url_file": secret, **message, "send_resolved": True}]}
    assert one.mail
    mail = {
        "to": ", ".join(one.mail.to),
        "from": one.mail.sender,
        "smarthost": f"{one.mail.host}:{one.mail.port}",
        "headers": {"Subject": _TITLE},
        "send_resolved": True,
    }
    if one.mail.user:
        mail |= {"auth_username": one.mail.user, "auth_password_file": secret}
    return {"email_configs": [mail]}


def egress(alerts: Alerts, cluster: Cluster) -> list[policies.Egress]:
    """Out to each receiver at its port: to its address, to its networks, or else to anywhere but the cluster."""
    rules: list[policies.Egress] = []
    for one in alerts.receivers:
        there: Iterable[IPv4Network] = [IPv4Network(one.way.address)] if one.way.address else one.networks
        to = [policies.network(cidr) for cidr in there] or [policies.outside(cluster.node_cidr, cluster.pod_cidr)]
        rules.append({"to": to, "ports": policies.ports(one.way.port)})
    return [*rules, policies.to_dns()] if alerts.names else rules
