"""`make status` leads to the status page, says so when it does not answer, and tells what is not exercised."""

from __future__ import annotations

import json
from subprocess import CompletedProcess

import httpx
import pytest

from infra import environment
from infra.paths import ROOT
from infra.providers.offline.aws.kind import UNEXERCISED
from ops import backend, engine, status
from tests.infra import recording

URL = "http://10.90.0.101:8080/"


def answering(monkeypatch: pytest.MonkeyPatch, code: int) -> list[str]:
    """The URLs that are asked from then on."""
    asked: list[str] = []

    def get(url: str, **_: object) -> httpx.Response:
        asked.append(url)
        return httpx.Response(code, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", get)
    return asked


def test_the_page_that_answers_is_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, 200)
    local = recording.local()
    (row,) = status._status_page(local, local.onprem)
    assert row == ("status page", "ready", URL)
    assert row[1] in status.GOOD
    assert asked == [f"{URL}health/ready"]


def test_a_page_that_does_not_answer_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, 503)
    local = recording.local()
    ((part, state, detail),) = status._status_page(local, local.onprem)
    assert (part, state) == ("status page", "failing")
    assert state not in status.GOOD
    assert detail.startswith(URL) and "503" in detail


def test_where_there_is_none_there_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, 200)
    plain = environment.load(ROOT / "tests" / "environments" / "valid" / "watched-without-volumes.yaml")
    assert status._status_page(plain, plain.onprem) == []
    assert asked == []


def test_what_a_labs_api_does_not_know_is_shown_once_and_only_where_it_stands_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    marked, addon, entry = {UNEXERCISED: True}, "aws:eks/addon:Addon", "aws:eks/accessEntry:AccessEntry"
    resources = [
        {"type": "isthmus:cloud:Cloud"},
        {"type": "aws:s3/bucket:Bucket", "outputs": {"bucket": "models"}},
        *({"type": kind, "outputs": marked} for kind in (addon, entry, addon)),
    ]
    exported = json.dumps({"deployment": {"resources": resources}})
    monkeypatch.setattr(engine, "pulumi", lambda *_: CompletedProcess([], 0, exported))
    monkeypatch.setattr(status, "rows", lambda *_: [])
    monkeypatch.setattr(backend, "stand_ins", lambda: ["aws"])

    def told() -> list[str]:
        assert status.status("hybrid") == 0
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("not exercised here: ")]

    said = told()
    assert [line.split()[3] for line in said] == [entry, addon]
    monkeypatch.setattr(backend, "stand_ins", list)
    assert told() == []
