"""The whole program, as the engine runs it, for environments/hybrid.yaml, which has all parts."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra import environment, settings
from infra.artifacts import ArtifactError, Index
from infra.paths import ROOT
from ops import halves
from tests.infra import program, recording
from tests.infra.recording import Resource

FILE = program.file("hybrid")


@pytest.fixture
def resources() -> list[Resource]:
    return program.of("hybrid").resources


def test_the_program_registers_site_platform_and_workloads(resources: list[Resource]) -> None:
    kinds = [one.type for one in resources]
    for kind in ("isthmus:onprem:Site", "isthmus:platform:Platform", "isthmus:workloads:Workloads"):
        assert kinds.count(kind) == 2, f"{kind}: one a site"


def test_training_runs_on_one_site_and_its_models_are_copied_to_the_other(resources: list[Resource]) -> None:
    assert len([one for one in resources if one.kind == "Job" and one.name == "training"]) == 1
    pod = recording.the(resources, "Deployment", "replication").pod
    assert pod is not None
    (container,) = pod["containers"]
    settings = {one["name"]: one["value"] for one in container["env"]}
    assert settings["ISTHMUS_SOURCE_ENDPOINT"] == "http://10.90.0.101:3900"
    assert settings["ISTHMUS_DESTINATION_ENDPOINT"] == "http://10.0.0.3:5000"


def test_backups_leave_the_site_sealed_and_only_the_engines_state_opens_them(resources: list[Resource]) -> None:
    variables = recording.the(resources, "Playbook", "onprem").inputs["variables"]
    assert variables["backup_store"] == {
        "url": "http://10.90.0.101:3900",
        "region": "garage",
        "bucket": "backups",
        "namespace": "object-store",
        "secret": "backups-credentials",
        "certificate": "certificate of backups-seal",
    }
    assert recording.the(resources, "Playbook", "cloud").inputs["variables"]["backup_store"] == {}
    key: Any = program.of("hybrid").exports["backups_key"]
    assert asyncio.run(key.is_secret())
    pod = recording.the(resources, "Deployment", "backup").pod
    assert pod is not None
    settings = {one["name"]: one["value"] for one in pod["containers"][0]["env"]}
    assert settings["ISTHMUS_BACKUPS_OF"] == "onprem-1,onprem-2,onprem-3"
    assert (settings["ISTHMUS_SOURCE_BUCKET"], settings["ISTHMUS_DESTINATION_BUCKET"]) == ("backups", "backups")
    assert settings["ISTHMUS_SOURCE_CREDENTIALS_DIR"] == "/var/run/secrets/onprem-backups-credentials"


def test_a_site_that_stands_alone_has_nowhere_to_send_backups() -> None:
    alone = program.of("local")
    assert recording.the(alone.resources, "Playbook", "onprem").inputs["variables"]["backup_store"] == {}
    assert not [one.name for one in alone.resources if "backup" in one.name]


@pytest.mark.parametrize("plugin", ["simulated", "simulated-dra"])
def test_each_site_has_the_plugins_of_its_accelerators(resources: list[Resource], plugin: str) -> None:
    plugins = [one for one in resources if one.kind == "DaemonSet" and one.name == f"device-plugin-{plugin}"]
    assert {one.options.provider for one in plugins} == {"onprem", "cloud"}


def test_the_cloud_site_has_a_machine_for_each_node_that_its_groups_are_to_have(resources: list[Resource]) -> None:
    machines = {one.name: one.inputs["network"] for one in resources if one.kind == "Machine"}
    there = {name for name, network in machines.items() if network == "isthmus-hybrid-cloud"}
    assert there == {"cloud-api", "cloud-general-1", "cloud-vpn"}


def test_in_a_lab_the_tunnels_end_on_a_machine_with_an_uplink_for_each(resources: list[Resource]) -> None:
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


def test_logical_names_are_the_same_in_every_environment(resources: list[Resource], tmp_path: Path) -> None:
    names = [one.urn for one in resources]
    assert len(set(names)) == len(names), "two resources of a kind, in parents of the same kinds, share a name"
    other = tmp_path / "elsewhere.yaml"
    other.write_text(FILE.read_text().replace("name: hybrid", "name: elsewhere"))
    assert sorted(names) == sorted(one.urn for one in program.run(other).resources)


def test_everything_in_the_cluster_is_gone_with_it(resources: list[Resource]) -> None:
    inside = [one for one in resources if one.type in ("isthmus:platform:Platform", "isthmus:workloads:Workloads")]
    assert {(one.options.parent, one.options.deleted_with) for one in inside} == {
        ("isthmus-local", "onprem"),
        ("cloud", "cloud"),
    }
    roots = {one.name for one in resources if one.options.parent in ("", "isthmus-local")} - {"isthmus-local"}
    in_clusters = {"onprem", "platform", "workloads", "cloud", "cloud-lab", "link", "link-end"}
    assert roots == {*in_clusters, "backups"}, "another root outlives its cluster, as what opens its backups must"


def test_the_provider_is_the_same_cluster_whatever_its_certificate(resources: list[Resource]) -> None:
    providers = [one for one in resources if one.type == "pulumi:providers:kubernetes"]
    assert {(one.name, one.inputs["clusterIdentifier"]) for one in providers} == {
        ("onprem", "onprem"),
        ("cloud", "cloud"),
    }


def test_a_preview_of_nothing_yet_registers_the_same_resources(resources: list[Resource]) -> None:
    preview = program.of("hybrid", preview=True).resources
    assert {one.urn for one in preview} == {one.urn for one in resources}


def test_the_outputs_say_where_to_go_and_what_was_reviewed() -> None:
    exported = program.of("hybrid").exports
    site = {"api_endpoint", "ingress_url", "kubeconfig"}
    assert exported.keys() == {
        *("environment_digest", "backups_bucket", "backups_key"),
        *site,
        *(f"cloud_{one}" for one in site),
        *("cloud_oidc_issuer", "cloud_node_role"),
    }
    assert exported["environment_digest"] == environment.digest(FILE)
    assert (exported["api_endpoint"], exported["ingress_url"]) == ("https://10.90.0.100:8443", "http://10.90.0.101")
    assert (exported["cloud_api_endpoint"], exported["cloud_ingress_url"]) == (
        "https://10.80.0.4:443",
        "http://10.80.0.5",
    )


def test_a_fault_of_the_input_is_told_without_a_traceback() -> None:
    with pytest.raises(pulumi.RunError, match="run: make mirror ARGS=sync"):
        program.run(FILE, index=_not_filled)


def test_a_preview_goes_on_without_what_could_not_be_had_and_nothing_else_does() -> None:
    def lacking() -> Index:
        whole = recording.index()
        artifacts = {name: one for name, one in whole.artifacts.items() if name != "grafana"}
        return Index(artifacts=artifacts, absent={"grafana": whole.artifact("grafana")})

    shown = program.run(program.file("staging"), preview=True, index=lacking).resources
    assert len([one for one in shown if (one.kind, one.name) == ("Deployment", "grafana")]) == 2
    assert recording.the(shown, "Image", "grafana")
    with pytest.raises(pulumi.RunError, match="does not hold 'grafana'"):
        program.run(program.file("staging"), index=lacking)


def test_an_invalid_environment_ends_the_program_with_its_problems() -> None:
    bad = ROOT / "tests" / "environments" / "invalid" / "address-twice.yaml"
    with pytest.raises(pulumi.RunError, match=r"invalid/address-twice.yaml: onprem.hosts\[1\].address: "):
        program.run(bad)


def _not_filled() -> Index:
    raise ArtifactError("the mirror has not been filled yet; run: make mirror ARGS=sync")


def test_a_site_that_stands_alone_asks_nothing_of_a_cloud() -> None:
    resources = program.of("local").resources
    assert not [one for one in resources if one.type.startswith(("aws:", "isthmus:cloud:"))]
    assert not [one for one in resources if one.name in ("replication", "garage-published")]


def test_with_amazon_the_hosts_end_the_tunnels_and_their_keys_stay_secret() -> None:
    resources = program.of("prod").resources
    link = recording.the(resources, "Playbook", "link")
    assert recording.is_secret(link.inputs["variables"])
    assert "onprem" in link.options.depends_on, "one playbook after the other on a host"
    assert recording.the(resources, "Playbook", "onprem").inputs["variables"]["linked"] is True


def test_with_amazon_a_claim_gets_an_encrypted_disk_in_its_pods_zone() -> None:
    resources = program.of("prod").resources
    (own,) = [one for one in resources if one.kind == "StorageClass" and one.options.provider == "cloud"]
    assert own.inputs["provisioner"] == "ebs.csi.aws.com"
    assert own.inputs["parameters"] == {"type": "gp3", "encrypted": "true", "kmsKeyId": "arn:aws:::data"}
    assert own.inputs["volumeBindingMode"] == "WaitForFirstConsumer"
    assert own.options.deleted_with == "eks", "nothing in the cluster is deleted one by one when the cluster is"


def test_with_amazon_and_its_add_on_a_claim_may_be_of_several_nodes() -> None:
    resources = program.of("staging").resources
    found = {
        one.name: one.inputs for one in resources if one.kind == "StorageClass" and one.options.provider == "cloud"
    }
    assert found.keys() == {"isthmus", "isthmus-shared"}
    assert found["isthmus-shared"]["parameters"]["fileSystemId"] == "shared-id"
    assert found["isthmus-shared"]["allowVolumeExpansion"] is False, "EFS has no quotas"


def test_the_onprem_site_is_the_same_without_the_cloud_half(resources: list[Resource], monkeypatch: Any) -> None:
    monkeypatch.setenv(settings.ALONE_VARIABLE, "1")
    alone = {one.urn: one for one in program.run(FILE).resources}
    both = {one.urn: one for one in resources if halves.half(one.urn) == "onprem"}
    assert both.keys() - alone.keys() == {
        "urn:pulumi:local::isthmus::isthmus:platform:Platform$kubernetes:core/v1:Secret::cilium-clustermesh"
    }, "where the other site is asked, which nothing waits for"
    assert {urn: _told(one) for urn, one in alone.items()} == {urn: _told(both[urn]) for urn in alone}


@pytest.mark.parametrize("name", ["hybrid", "staging", "prod"])
def test_what_the_cloud_half_takes_from_the_onprem_site_waits_for_nothing_there(name: str) -> None:
    """Else it could not be finished where that site fails before it comes to it."""
    waits_for = {one.urn: one.waits_for for one in program.of(name).resources}
    sides = {urn: halves.half(urn) for urn in waits_for}
    taken = {
        needed
        for urn, side in sides.items()
        if side == "cloud"
        for needed in waits_for[urn]
        if sides.get(needed) == "onprem"
    }
    assert len(taken) > 5, "keys of both buckets, the mesh's authority, the view's key"
    todo, found = set(taken), set()
    while todo:
        found |= todo
        todo = {needed for urn in todo for needed in waits_for[urn] if needed in waits_for} - found
    kinds = {urn.split("::")[2].rpartition("$")[2] for urn in found}
    assert kinds <= {
        "isthmus:onprem:Site",
        "isthmus:platform:Credentials",
        "isthmus:platform:ViewKeys",
        "isthmus:secret:Authority",
        "isthmus:secret:Certificate",
        "isthmus:secret:RandomSecret",
    }


def _told(one: Resource) -> str:
    """Options and inputs; each run has a checkout of its own."""
    told = json.dumps([dataclasses.asdict(one.options), one.inputs], sort_keys=True, default=sorted)
    return re.sub(rf"{tempfile.gettempdir()}/\w+", "CHECKOUT", told)
