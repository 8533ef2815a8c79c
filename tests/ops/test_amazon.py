"""Where Amazon has a half of an environment: who may run `make up`, and what the other commands know of that half."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import moto
import pytest
from botocore.exceptions import ClientError

from infra import environment
from infra.environment import Cloud
from infra.paths import ROOT
from ops import amazon, ask, cluster, engine, env, predict, status
from ops.console import Failure

URL = "http://internal-digits.elb.eu-central-1.amazonaws.com"


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


TEAM = "arn:aws:sts::444455556666:assumed-role/platform-team/somebody@example.org"


def known_as(monkeypatch: pytest.MonkeyPatch, arn: str, *refused: str) -> None:
    """AWS as boto3 asks it, with two pages of versions; `refused` are the operations that this caller may not."""

    class Aws:
        def get_caller_identity(self) -> dict[str, Any]:
            return {"Arn": arn}

        def get_paginator(self, operation: str) -> Any:
            assert operation == "describe_cluster_versions"
            return self

        def paginate(self) -> Iterator[dict[str, Any]]:
            if "describe_cluster_versions" in refused:
                raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeClusterVersions")
            yield {"clusterVersions": [{"clusterVersion": "1.36"}, {"clusterVersion": "1.35"}]}
            yield {"clusterVersions": [{"clusterVersion": "1.34"}]}

    monkeypatch.setattr(amazon.boto3, "client", lambda *_, **__: Aws())


def test_the_platform_team_may(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    known_as(monkeypatch, TEAM)
    amazon.ensure(cloud)


@pytest.mark.parametrize("version", ["1.36", "1.35", "1.34"])
def test_a_version_that_eks_offers_is_taken(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    known_as(monkeypatch, TEAM)
    amazon.ensure(cloud.model_copy(update={"kubernetes_version": version}))


def test_a_version_that_eks_does_not_offer_is_named_with_its_key_and_those_that_it_does(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_as(monkeypatch, TEAM)
    with pytest.raises(Failure, match=r"cloud\.kubernetes_version is 1\.99.*Fix: write one of 1\.34, 1\.35, 1\.36"):
        amazon.ensure(cloud.model_copy(update={"kubernetes_version": "1.99"}))


def test_who_may_not_ask_eks_for_its_versions_is_told_what_is_missing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_as(monkeypatch, TEAM, "describe_cluster_versions")
    with pytest.raises(Failure, match=r"AccessDeniedException.*Fix: have eks:DescribeClusterVersions allowed"):
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


def test_the_shell_gets_the_engines_variables_and_the_kubeconfig_of_the_site_at_amazon_once_it_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kubeconfig-cloud.yaml"
    monkeypatch.setattr(cluster, "kubeconfig_file", lambda *_: path)
    monkeypatch.setattr(engine, "variables", lambda _: {"PULUMI_HOME": "/a b"})
    assert env.exports("prod", "cloud") == 0
    said = capsys.readouterr()
    assert said.out == "export PULUMI_HOME='/a b'\n"
    assert "no running site 'cloud', so KUBECONFIG is left out: make up ENV=prod" in said.err
    path.touch()
    assert env.exports("prod", "cloud") == 0
    said = capsys.readouterr()
    assert said.out == f"export PULUMI_HOME='/a b'\nexport KUBECONFIG={path}\n"
    assert not said.err
    for name, site in (("local", "cloud"), ("prod", "elsewhere")):
        with pytest.raises(Failure, match="has no site"):
            env.exports(name, site)
    with pytest.raises(Failure, match="the environment file is refused"):
        env.exports("nowhere", "onprem")
    assert not capsys.readouterr().out


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The outputs of prod's stack."""
    outputs: dict[str, str] = {}

    def pulumi(*_: str) -> CompletedProcess[str]:
        return CompletedProcess([], 0, json.dumps(outputs))

    monkeypatch.setattr(engine, "pulumi", pulumi)
    return outputs


def test_the_model_at_amazon_is_asked_by_the_name_that_the_stack_has_learnt(
    stack: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def shown(url: str, _: int | None) -> int:
        asked.append(url)
        return 0

    monkeypatch.setattr(predict, "main", shown)
    # Amazon has made no balancer yet.
    for told in ({}, {"cloud_ingress_url": ""}):
        stack.update(told)
        with pytest.raises(Failure, match=r"no cloud_ingress_url yet.*Fix: make up ENV=prod"):
            ask.ask("prod", "cloud", 0)
    stack["cloud_ingress_url"] = URL
    assert ask.ask("prod", "cloud", 0) == 0
    assert ask.ask("prod", "onprem", 0) == 0
    assert asked == [URL, "http://10.20.0.101"]
    with pytest.raises(Failure, match="SITE is one of onprem, cloud"):
        ask.ask("prod", "elsewhere", 0)


def test_status_tells_of_the_cluster_and_the_model_at_amazon(
    stack: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack["cloud_ingress_url"] = URL
    well = {"conditions": [{"type": "Ready", "status": "True"}]}
    there = {
        "nodes": [{"metadata": {"name": "ip-1"}, "status": well | {"nodeInfo": {"kubeletVersion": "v1.35.2-eks"}}}],
        "pods": [
            {"metadata": {"namespace": "workloads"}, "status": well},
            {"metadata": {"namespace": "workloads"}, "status": {"phase": "Pending"}},
        ],
    }
    monkeypatch.setattr(cluster, "items", lambda _, kind, site: there[kind] if site == "cloud" else [])

    def get(url: str, **_: object) -> httpx.Response:
        return httpx.Response(200, json={"versions": ["7"]}, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", get)
    prod = environment.load(ROOT / "environments" / "prod.yaml")
    assert status.rows(prod, "cloud") == [
        ("node ip-1", "ready", "v1.35.2-eks"),
        ("pods in workloads", "not ready", "1 of 2"),
        ("model digits", "serving", "7"),
    ]


@pytest.mark.usefixtures("stack")
def test_a_part_that_can_not_be_asked_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster, "kubeconfig_file", lambda *_: tmp_path / "missing")
    prod = environment.load(ROOT / "environments" / "prod.yaml")
    assert [(part, said) for part, said, _ in status.rows(prod, "cloud")] == [
        ("nodes", "failing"),
        ("pods", "failing"),
        ("model", "failing"),
    ]
