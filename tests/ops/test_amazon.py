"""Who may run `make up` where Amazon has a half of it: told before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import moto
import pytest

from infra import environment
from infra.environment import Cloud
from infra.paths import ROOT
from ops import amazon, cluster, engine, env
from ops.console import Failure


@pytest.fixture
def cloud() -> Cloud:
    loaded = environment.load(ROOT / "environments" / "prod.yaml").cloud
    assert loaded
    return loaded


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the AWS CLI and some credentials."""
    monkeypatch.setattr(amazon.shutil, "which", lambda name: f"/usr/bin/{name}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


def known_as(monkeypatch: pytest.MonkeyPatch, arn: str) -> None:
    class Sts:
        def get_caller_identity(self) -> dict[str, Any]:
            return {"Arn": arn}

    monkeypatch.setattr(amazon.boto3, "client", lambda *_, **__: Sts())


def test_the_platform_team_may(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as(monkeypatch, "arn:aws:sts::444455556666:assumed-role/platform-team/somebody@example.org")
    amazon.ensure(cloud)


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:sts::444455556666:assumed-role/developers/somebody",
        "arn:aws:sts::111122223333:assumed-role/platform-team/somebody",
        "arn:aws:iam::444455556666:user/platform-team",
        "arn:aws:iam::444455556666:root",
    ],
)
def test_nobody_else_begins_what_the_cluster_would_refuse(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, arn: str
) -> None:
    known_as(monkeypatch, arn)
    with pytest.raises(Failure, match=r"platform_team_roles.*Fix: log in with that role") as raised:
        amazon.ensure(cloud)
    assert arn in raised.value.what


def test_a_role_in_a_folder_is_that_role() -> None:
    there = "arn:aws:iam::444455556666:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_team_0123"
    session = "arn:aws:sts::444455556666:assumed-role/AWSReservedSSO_team_0123/somebody"
    assert amazon.role(there) == amazon.role(session) == ("444455556666", "AWSReservedSSO_team_0123")


def test_aws_itself_is_asked(cloud: Cloud) -> None:
    with moto.mock_aws(), pytest.raises(Failure, match=r"you are arn:aws:sts::123456789012:user/moto"):
        amazon.ensure(cloud)


def test_what_the_kubeconfig_calls_must_be_there(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amazon.shutil, "which", lambda _: None)
    with pytest.raises(Failure, match="Fix: install version 2 of the AWS CLI"):
        amazon.ensure(cloud)


def test_the_shell_gets_the_kubeconfig_of_the_site_at_amazon_once_it_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kubeconfig-cloud.yaml"
    monkeypatch.setattr(cluster, "kubeconfig_file", lambda *_: path)
    monkeypatch.setattr(engine, "variables", lambda _: {})
    with pytest.raises(Failure, match="no running site 'cloud'"):
        env.exports("prod", "cloud")
    path.touch()
    assert env.exports("prod", "cloud") == 0
    assert capsys.readouterr().out == f"export KUBECONFIG={path}\n"
    for name, site in (("local", "cloud"), ("prod", "elsewhere")):
        with pytest.raises(Failure, match="has no site"):
            env.exports(name, site)
