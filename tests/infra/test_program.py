"""The whole program, as the engine runs it, for environments/hybrid.yaml, which has all parts."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pulumi
import pytest

from infra import environment, settings
from infra.artifacts import ArtifactError, Index
from infra.cloud import lab as cloud_lab
from infra.link import site_link
from infra.onprem import cluster, lab
from infra.paths import ROOT
from infra.platform import cilium
from tests.infra import recording
from tests.infra.platform.conftest import CHART
from tests.infra.recording import Options, Resource

PROGRAM = ROOT / "infra"
FILE = ROOT / "environments" / "hybrid.yaml"


@pytest.fixture(autouse=True)
def checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `make up` has prepared before it starts the engine; and no stack that a test sets remains."""
    for module in (settings, cluster, lab, cloud_lab, site_link):
        monkeypatch.setattr(module, "state", lambda name: tmp_path / name)
    key = settings.authorized_key_file("hybrid")
    key.parent.mkdir(parents=True)
    key.write_text("ssh-ed25519 AAAA me\n")
    for module in (cluster, site_link):
        (tmp_path / module.PLAYBOOK).write_text("- hosts: all\n")
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(cilium, "objects", lambda *_: CHART)
    monkeypatch.setattr(Index, "load", lambda: recording.index())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(settings, "environment_file", lambda _: FILE)


def run(preview: bool = False) -> tuple[list[Resource], dict[tuple[str, str], Options]]:
    return recording.record_options(lambda: runpy.run_path(str(PROGRAM), run_name="__main__"), preview=preview)


def test_the_program_registers_site_platform_and_workloads() -> None:
    resources, _ = run()
    kinds = [one.type for one in resources]
    for kind in ("isthmus:onprem:Site", "isthmus:platform:Platform", "isthmus:workloads:Workloads"):
        assert kinds.count(kind) == 2, f"{kind}: one a site"


def test_training_runs_on_one_site_and_its_models_are_copied_to_the_other() -> None:
    resources, _ = run()
    assert len([one for one in resources if one.kind == "Job" and one.name == "training"]) == 1
    pod = recording.the(resources, "Deployment", "replication").pod
    assert pod is not None
    (container,) = pod["containers"]
    settings = {one["name"]: one["value"] for one in container["env"]}
    assert settings["ISTHMUS_SOURCE_ENDPOINT"] == "http://10.90.0.101:3900"
    assert settings["ISTHMUS_DESTINATION_ENDPOINT"] == "http://10.0.0.3:5000"


def test_the_cloud_site_has_a_machine_for_each_node_that_its_groups_are_to_have() -> None:
    resources, _ = run()
    machines = {one.name: one.inputs["network"] for one in resources if one.kind == "Machine"}
    there = {name for name, network in machines.items() if network == "isthmus-hybrid-cloud"}
    assert there == {"cloud-api", "cloud-general-1", "cloud-vpn"}


def test_in_a_lab_the_tunnels_end_on_a_machine_with_an_uplink_for_each() -> None:
    resources, _ = run()
    networks = {one.inputs["name"]: one.inputs["kind"] for one in resources if one.kind == "Network"}
    assert networks == {
        "isthmus-hybrid-onprem": "site",
        "isthmus-hybrid-cloud": "site",
        "isthmus-hybrid-uplink-1": "uplink",
        "isthmus-hybrid-uplink-2": "uplink",
    }
    assert recording.the(resources, "Machine", "cloud-vpn").inputs["uplinks"] == {
        "isthmus-hybrid-uplink-1": "198.18.1.2",
        "isthmus-hybrid-uplink-2": "198.18.2.2",
    }
    link = recording.the(resources, "Playbook", "link")
    assert {"onprem", "cloud"} <= set(link.options.depends_on), "one playbook after the other on a host"
    assert recording.is_secret(link.inputs["variables"])


def test_logical_names_are_the_same_in_every_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = [one.urn for one in run()[0]]
    assert len(set(names)) == len(names), "two resources of a kind, in parents of the same kinds, share a name"
    other = tmp_path / "elsewhere.yaml"
    text = FILE.read_text()
    other.write_text(text.replace("name: hybrid", "name: elsewhere"))
    (tmp_path / "hybrid").rename(tmp_path / "elsewhere")
    monkeypatch.setattr(settings, "environment_file", lambda _: other)
    assert sorted(names) == sorted(one.urn for one in run()[0])


def test_everything_in_the_cluster_is_gone_with_it() -> None:
    resources, _ = run()
    inside = [one for one in resources if one.type in ("isthmus:platform:Platform", "isthmus:workloads:Workloads")]
    assert {(one.options.parent, one.options.deleted_with) for one in inside} == {
        ("isthmus-local", "onprem"),
        ("cloud", "cloud"),
    }
    roots = {one.name for one in resources if one.options.parent in ("", "isthmus-local")} - {"isthmus-local"}
    assert roots == {"onprem", "platform", "workloads", "cloud", "cloud-lab", "link", "link-end"}, (
        "another root outlives its cluster"
    )


def test_the_provider_is_the_same_cluster_whatever_its_certificate() -> None:
    resources, _ = run()
    providers = [one for one in resources if one.type == "pulumi:providers:kubernetes"]
    assert {(one.name, one.inputs["clusterIdentifier"]) for one in providers} == {
        ("onprem", "onprem"),
        ("cloud", "cloud"),
    }


def test_a_preview_of_nothing_yet_registers_the_same_resources() -> None:
    def names(preview: bool) -> set[str]:
        return {one.urn for one in run(preview)[0]}

    assert names(preview=True) == names(preview=False)


def test_the_outputs_say_where_to_go_and_what_was_reviewed(monkeypatch: pytest.MonkeyPatch) -> None:
    exported: dict[str, pulumi.Output[str]] = {}
    monkeypatch.setattr(pulumi, "export", exported.__setitem__)
    run()
    site = {"api_endpoint", "ingress_url", "kubeconfig"}
    assert exported.keys() == {"environment_digest", *site, *(f"cloud_{one}" for one in site)}
    assert exported["environment_digest"] == environment.digest(FILE)
    assert (exported["api_endpoint"], exported["ingress_url"]) == ("https://10.90.0.100:8443", "http://10.90.0.101")
    assert (exported["cloud_api_endpoint"], exported["cloud_ingress_url"]) == (
        "https://10.80.0.4:443",
        "http://10.80.0.5",
    )


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


def test_a_site_that_stands_alone_asks_nothing_of_a_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "environment_file", lambda _: ROOT / "environments" / "local.yaml")
    (tmp_path / "hybrid").rename(tmp_path / "local")
    resources, _ = run()
    assert not [one for one in resources if one.type.startswith(("aws:", "isthmus:cloud:"))]
    assert not [one for one in resources if one.name in ("replication", "garage-published")]


def test_with_amazon_the_hosts_end_the_tunnels_and_their_keys_stay_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(settings, "environment_file", lambda _: ROOT / "environments" / "prod.yaml")
    (tmp_path / "hybrid").rename(tmp_path / "prod")
    resources, _ = run()
    link = recording.the(resources, "Playbook", "link")
    assert recording.is_secret(link.inputs["variables"])
    assert "onprem" in link.options.depends_on, "one playbook after the other on a host"
    assert recording.the(resources, "Playbook", "onprem").inputs["variables"]["linked"] is True
