"""Secrets of receivers: looked at before anything is made, told of without being told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pulumi
import pytest

from infra import alert_secrets
from infra.alerts import Alerts
from infra.environment import Environment
from infra.settings import NotSetUp
from tests.infra import recording

RECEIVERS = {
    "receivers": [
        {"name": "on-call", "webhook": {"host": "alerts.example.com"}},
        {"name": "chat", "slack": {"channel": "#alerts"}},
        {"name": "team", "mail": {"host": "mail.example.com", "sender": "a@b.cc", "to": ["c@b.cc"], "user": "a"}},
        {"name": "list", "mail": {"host": "mail.example.com", "sender": "a@b.cc", "to": ["d@b.cc"]}},
    ],
    "resolvers": ["10.90.0.1"],
}
GOOD = {
    "alerts-on-call": "https://alerts.example.com/a-very-secret-path",
    "alerts-chat": "https://hooks.slack.com:443/services/a-very-secret-path",
    "alerts-team": "a-very-secret-password",
}


@pytest.fixture
def told() -> Environment:
    local = recording.local()
    assert local.platform.monitoring
    monitoring = local.platform.monitoring.model_copy(update={"alerts": Alerts.model_validate(RECEIVERS)})
    return local.model_copy(update={"platform": local.platform.model_copy(update={"monitoring": monitoring})})


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    values = dict(GOOD)
    monkeypatch.setattr(alert_secrets, "stored", values.get)
    loop = asyncio.new_event_loop()  # outputs are made in one, as the program has it
    asyncio.set_event_loop(loop)
    yield values
    asyncio.set_event_loop(None)
    loop.close()


def test_each_receiver_that_has_a_secret_gets_it(told: Environment, configured: dict[str, str]) -> None:
    assert configured
    assert alert_secrets.of(told, preview=False).keys() == {"on-call", "chat", "team"}


def test_where_nobody_is_told_there_is_no_secret(configured: dict[str, str]) -> None:
    assert configured
    assert alert_secrets.of(recording.local(), preview=False) == {}


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("alerts-on-call", None, "the URL of the receiver on-call is not set"),
        (
            "alerts-on-call",
            "https://elsewhere.example.com/a-very-secret-path",
            "does not lead to alerts.example.com:443",
        ),
        ("alerts-on-call", "http://alerts.example.com/a-very-secret-path", "does not lead to alerts.example.com:443"),
        ("alerts-on-call", "https://alerts.example.com:99999/a-very-secret-path", "does not lead to"),
        ("alerts-chat", "a-very-secret-path", "does not lead to hooks.slack.com:443"),
        ("alerts-team", "", "the password of the receiver team is not set"),
    ],
)
def test_a_secret_that_is_no_good_is_refused_without_being_shown(
    told: Environment, configured: dict[str, str], key: str, value: str | None, problem: str
) -> None:
    configured.pop(key)
    if value is not None:
        configured[key] = value
    with pytest.raises(NotSetUp) as refused:
        alert_secrets.of(told, preview=False)
    assert problem in str(refused.value)
    assert f"pulumi config set --secret --stack local {key}" in str(refused.value)
    assert "very-secret" not in str(refused.value)


def test_a_preview_needs_no_secret_and_says_what_is_missing(
    told: Environment, configured: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured.clear()
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    assert alert_secrets.of(told, preview=True).keys() == {"on-call", "chat", "team"}
    assert len(said) == 3


def test_a_secret_in_plain_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi, "get_project", lambda: "isthmus")
    monkeypatch.setattr(pulumi.runtime, "get_config", {"isthmus:alerts-on-call": "plain"}.get)
    monkeypatch.setattr(pulumi.runtime, "is_config_secret", lambda _: False)
    with pytest.raises(NotSetUp, match="set it anew with --secret"):
        alert_secrets.stored("alerts-on-call")
    monkeypatch.setattr(pulumi.runtime, "is_config_secret", lambda _: True)
    assert alert_secrets.stored("alerts-on-call") == "plain"
    assert alert_secrets.stored("alerts-other") is None
