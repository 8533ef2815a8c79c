"""`make up`: whose registry it fills, and that a cluster can be opened although the run that made it has failed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra import environment
from infra.environment import Environment
from infra.paths import ROOT
from ops import cluster, engine, up
from ops.console import Failure, Phases
from tests.infra.recording import SECRET_MARK

PLAYBOOK = "isthmus:ansible:Playbook"


def settings(name: str) -> Environment:
    return environment.load(ROOT / "environments" / f"{name}.yaml")


@pytest.mark.parametrize(
    ("name", "filled"),
    [("local", []), ("hybrid", []), ("staging", ["http://10.40.0.5:5000"]), ("prod", ["http://10.20.0.5:5000"])],
)
def test_the_registry_of_real_hosts_is_filled_and_a_labs_is_the_mirror(
    name: str, filled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    records, done = {"pause": object()}, []
    monkeypatch.setattr(up.sync, "sync", lambda also: records if "status" in also else {})
    monkeypatch.setattr(up.publish, "publish", lambda url, found: done.append((url, list(found))))
    up.fill_mirror(settings(name))
    assert done == [(url, list(records.values())) for url in filled]


def resource(name: str, kubeconfig: str | None, kind: str = PLAYBOOK) -> dict[str, Any]:
    """As the engine writes one down, with secrets shown."""
    results = {"kubeconfig": kubeconfig} if kubeconfig else {}
    shown = {"results": {**SECRET_MARK, "plaintext": json.dumps(results)}}
    return {"urn": f"urn:pulumi:prod::isthmus::isthmus:onprem:Site${kind}::{name}", "type": kind, "outputs": shown}


class Engine:
    """An engine whose run fails, and what it then has in its state."""

    def __init__(self, resources: list[Any] | None) -> None:
        self.exported = "not a word" if resources is None else json.dumps({"deployment": {"resources": resources}})

    def pulumi(self, _environment: str, *args: str) -> subprocess.CompletedProcess[str]:
        if args[:2] != ("stack", "export"):
            raise Failure("no outputs", fix="none")
        return subprocess.CompletedProcess(args, 0, self.exported if "--show-secrets" in args else "{}")


def fail(made: Engine, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(cluster, "state", lambda _: folder)
    monkeypatch.setattr(up, "state", lambda _: folder)
    monkeypatch.setattr(engine, "settle", lambda *_: None)
    monkeypatch.setattr(engine, "up", lambda *_, **__: ["urn:pulumi:prod::isthmus::isthmus:platform:Platform$x::y"])
    monkeypatch.setattr(engine, "first_error", lambda _: "error: Cilium is not ready")
    monkeypatch.setattr(engine, "pulumi", made.pulumi)
    with pytest.raises(Failure, match="Cilium is not ready"):
        up.apply(settings("local"), Phases(), hosts=False)


def test_a_cluster_that_a_failed_run_has_made_can_be_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = resource("cloud", "of something else", "isthmus:other:Kind")
    bare = {"urn": f"urn:pulumi:prod::isthmus::{PLAYBOOK}::cloud", "type": PLAYBOOK}
    resources = [other, bare, resource("link", None), resource("onprem", "its kubeconfig")]
    fail(Engine(resources), monkeypatch, tmp_path)
    saved = tmp_path / "kubeconfig-onprem.yaml"
    assert saved.read_text() == "its kubeconfig"
    assert saved.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [saved.name]


@pytest.mark.parametrize("resources", [None, [], [{}], [resource("onprem", None)], [{"urn": None, "type": 1}]])
def test_where_there_is_none_the_runs_own_fault_is_what_is_told(
    resources: list[Any] | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fail(Engine(resources), monkeypatch, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_older_kubeconfig_stays_where_there_is_no_newer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig-onprem.yaml").write_text("of before")
    fail(Engine([]), monkeypatch, tmp_path)
    assert (tmp_path / "kubeconfig-onprem.yaml").read_text() == "of before"
