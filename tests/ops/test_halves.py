"""Which half is finished without the other, and with which of its resources."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from infra import settings
from ops import engine, halves
from ops.console import Failure, Phases

STACK = "urn:pulumi:hybrid::isthmus::"
PLATFORM = f"{STACK}isthmus:platform:Platform::platform"
CLOUDS = f"{STACK}isthmus:cloud:Lab$isthmus:onprem:Site$isthmus:onprem:Lab$isthmus:lab:Machine::cloud-api"
LINKS = f"{STACK}isthmus:link:SiteLink$isthmus:ansible:Playbook::link"

Runs = list[tuple[list[str], Mapping[str, str]]]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """The targets and variables of each run of an engine to which the program of the on-prem site names two steps."""
    made: Runs = []

    def up(_: str, __: Phases, log: Path, *, targets: Iterable[str], extra: Mapping[str, str]) -> list[str] | None:
        made.append((list(targets), extra))
        log.write_text("error: no room\n")
        return [PLATFORM] if "broken" in extra else None

    def pulumi(_: str, command: str, *__: str, extra: Mapping[str, str]) -> CompletedProcess[str]:
        # Which resources there are does not depend on the hosts: they are looked at once, by the run itself.
        assert (command, extra) == ("preview", {settings.ALONE_VARIABLE: "1"})
        if (tmp_path / "refused").exists():
            raise Failure("pulumi preview failed", fix="mend it")
        stack = {"op": "same", "urn": f"{STACK}pulumi:pulumi:Stack::isthmus-hybrid"}
        steps = [stack, {"op": "same", "urn": PLATFORM}, {"op": "delete", "urn": CLOUDS}]
        return CompletedProcess([], 0, json.dumps({"steps": steps}))

    monkeypatch.setattr(engine, "up", up)
    monkeypatch.setattr(engine, "pulumi", pulumi)
    monkeypatch.setattr(halves, "state", lambda _: tmp_path)
    (tmp_path / "logs").mkdir()
    return made


def finish(*failed: str, **extra: str) -> dict[str, str]:
    return halves.finish("hybrid", failed, Phases(), extra)


@pytest.mark.parametrize(
    ("urn", "half"),
    [
        (CLOUDS, "cloud"),
        (LINKS, "link"),
        (PLATFORM, "onprem"),
        (f"{STACK}isthmus:onprem:Site$isthmus:onprem:Cluster$isthmus:ansible:Playbook::onprem", "onprem"),
        (f"{STACK}isthmus:cloud:Cloud$pulumi:providers:kubernetes::cloud", "cloud"),
        (f"{STACK}pulumi:providers:kubernetes::onprem", "onprem"),
    ],
)
def test_a_resource_is_of_the_half_of_its_outermost_component(urn: str, half: str) -> None:
    assert halves.half(urn) == half


def test_without_the_cloud_half_nothing_that_the_program_leaves_out_is_touched(runs: Runs) -> None:
    assert finish(CLOUDS, ISTHMUS_HOSTS="1") == {"onprem": ""}
    assert runs == [([PLATFORM], {"ISTHMUS_HOSTS": "1", settings.ALONE_VARIABLE: "1"})]


def test_without_the_onprem_site_all_of_the_cloud_half_is_meant(runs: Runs) -> None:
    assert finish(PLATFORM) == {"cloud": ""}
    assert runs == [(["urn:pulumi:hybrid::*::isthmus:cloud:**"], {})]


def test_each_half_is_finished_without_the_link(runs: Runs) -> None:
    assert finish(LINKS) == {"onprem": "", "cloud": ""}
    assert len(runs) == 2


@pytest.mark.parametrize("failed", [[], [CLOUDS, PLATFORM]])
def test_nothing_is_done_where_both_halves_failed_or_nobody_knows_which(runs: Runs, failed: list[str]) -> None:
    assert finish(*failed) == {}
    assert runs == []


def test_a_half_that_fails_without_the_other_says_why(runs: Runs, tmp_path: Path) -> None:
    assert finish(PLATFORM, broken="1") == {"cloud": f"error: no room (log: {tmp_path / 'logs' / 'up-cloud.log'})"}
    assert runs


def test_an_onprem_site_whose_preview_fails_says_why(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "refused").touch()
    assert "pulumi preview failed" in finish(CLOUDS)["onprem"]
    assert runs == []
