"""The whole program, as the engine runs it, for environments/local.yaml."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pulumi
import pytest

from infra import environment, settings
from infra.artifacts import ArtifactError, Index
from infra.onprem import cluster, lab
from infra.paths import ROOT
from infra.platform import cilium
from tests.infra import recording
from tests.infra.platform.conftest import CHART
from tests.infra.recording import Options, Resource

PROGRAM = ROOT / "infra"


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `make up` has prepared before it starts the engine; and no stack that a test sets remains."""
    for module in (settings, cluster, lab):
        monkeypatch.setattr(module, "state", lambda name: tmp_path / name)
    key = settings.authorized_key_file("local")
    key.parent.mkdir(parents=True)
    key.write_text("ssh-ed25519 AAAA me\n")
    (tmp_path / cluster.PLAYBOOK).write_text("- hosts: all\n")
    monkeypatch.setattr(cluster, "FOLDER", tmp_path)
    monkeypatch.setattr(cilium, "objects", lambda *_: CHART)
    monkeypatch.setattr(Index, "load", lambda: recording.index())
    monkeypatch.setattr(sys, "path", list(sys.path))


def run(preview: bool = False) -> tuple[list[Resource], dict[tuple[str, str], Options]]:
    return recording.record_options(lambda: runpy.run_path(str(PROGRAM), run_name="__main__"), preview=preview)


def test_the_program_registers_site_platform_and_workloads() -> None:
    resources, _ = run()
    kinds = {one.type for one in resources}
    assert {"isthmus:onprem:Site", "isthmus:platform:Platform", "isthmus:workloads:Workloads"} <= kinds


def test_logical_names_are_the_same_in_every_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [(one.type, one.name) for one in run()[0]]
    assert len(set(names)) == len(names), "two resources of a kind share a name"
    other = tmp_path / "elsewhere.yaml"
    text = settings.environment_file("local").read_text()
    other.write_text(text.replace("name: local", "name: elsewhere"))
    (tmp_path / "local").rename(tmp_path / "elsewhere")
    monkeypatch.setattr(settings, "environment_file", lambda _: other)
    assert sorted(names) == sorted((one.type, one.name) for one in run()[0])


def test_everything_in_the_cluster_is_gone_with_it() -> None:
    _, options = run()
    assert {options[key].deleted_with for key in (("Platform", "platform"), ("Workloads", "workloads"))} == {"onprem"}
    roots = {name for (_, name), one in options.items() if not one.parent or one.parent == "isthmus-local"}
    assert roots - {"isthmus-local"} == {"onprem", "platform", "workloads"}, (
        "what has another root outlives the cluster"
    )


def test_the_provider_is_the_same_cluster_whatever_its_certificate() -> None:
    resources, _ = run()
    provider = next(one for one in resources if one.type == "pulumi:providers:kubernetes")
    assert (provider.name, provider.inputs["clusterIdentifier"]) == ("onprem", "onprem")


def test_a_preview_of_nothing_yet_registers_the_same_resources() -> None:
    def names(preview: bool) -> set[tuple[str, str]]:
        return {(one.type, one.name) for one in run(preview)[0]}

    assert names(preview=True) == names(preview=False)


def test_the_outputs_say_where_to_go_and_what_was_reviewed(monkeypatch: pytest.MonkeyPatch) -> None:
    exported: dict[str, pulumi.Output[str]] = {}
    monkeypatch.setattr(pulumi, "export", exported.__setitem__)
    run()
    assert exported.keys() == {"environment_digest", "api_endpoint", "ingress_url", "kubeconfig"}
    assert exported["environment_digest"] == environment.digest(ROOT / "environments" / "local.yaml")
    assert (exported["api_endpoint"], exported["ingress_url"]) == ("https://10.90.0.100:8443", "http://10.90.0.101")


def test_a_fault_of_the_input_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "load", _not_filled)
    with pytest.raises(pulumi.RunError, match="run: make mirror"):
        run()


def test_an_invalid_environment_ends_the_program_with_its_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = ROOT / "tests" / "environments" / "invalid" / "address-twice.yaml"
    monkeypatch.setattr(settings, "environment_file", lambda _: bad)
    with pytest.raises(pulumi.RunError, match=r"invalid/address-twice.yaml: onprem.hosts\[1\].address: "):
        run()


def _not_filled() -> Index:
    raise ArtifactError("the mirror has not been filled yet; run: make mirror")
