"""The on-prem site: machines where there are none, one playbook, and what may be deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra import environment, settings
from infra.environment import Environment
from infra.onprem import Site, SiteArgs
from infra.paths import ROOT
from tests.infra import recording
from tests.infra.recording import Options, Resource

Recorded = tuple[list[Resource], dict[tuple[str, str], Options]]


def register(env: Environment) -> Recorded:
    args = SiteArgs(
        environment=env.name,
        site=env.onprem,
        kubernetes_version=env.kubernetes.version,
        index=recording.index(),
    )
    return recording.record_options(lambda: Site("onprem", args))


def real_hosts() -> Environment:
    return environment.load(ROOT / "tests" / "environments" / "valid" / "real-hosts.yaml")


def playbook(recorded: Recorded) -> dict[str, Any]:
    return recording.the(recorded[0], "Playbook", "onprem").inputs


def test_the_lab_boots_a_machine_for_each_host_on_one_network() -> None:
    resources, options = register(recording.local())
    machines = {one.name: one.inputs for one in resources if one.kind == "Machine"}
    assert machines.keys() == {"onprem-1", "onprem-2", "onprem-3"}
    assert {one["network"] for one in machines.values()} == {"isthmus-local-onprem"}
    assert "lab" in options["Machine", "onprem-1"].depends_on, "a machine needs its network first"


def test_a_machine_keeps_its_disks_apart_from_others_and_from_other_environments(checkout: Path) -> None:
    resources, _ = register(recording.local())
    disks = [disk for one in resources if one.kind == "Machine" for disk in one.inputs["disks"].values()]
    assert len(set(disks)) == len(disks) == 15
    assert all(Path(disk).is_relative_to(checkout / "local" / "machines") for disk in disks)


def test_all_machines_of_a_site_share_one_folder_that_is_no_machines_own(checkout: Path) -> None:
    resources, _ = register(recording.local())
    shared = [one.inputs["shared"] for one in resources if one.kind == "Machine"]
    assert shared == [{"/srv/nas": str(checkout / "local" / "nas" / "onprem")}] * 3


def test_the_playbook_knows_each_machine_by_the_key_that_it_made() -> None:
    recorded = register(recording.local())
    hosts = playbook(recorded)["inventory"]["all"]["hosts"]
    assert hosts["onprem-3"]["host_key"] == "ssh-ed25519 onprem-3"
    waits_for = recorded[1]["Playbook", "onprem"].depends_on
    assert {"onprem-1", "onprem-2", "onprem-3"} <= waits_for, "a new machine has a new key, so the playbook runs again"


def test_deleting_the_lab_does_not_run_the_reset_on_machines_that_go_anyway() -> None:
    _, options = register(recording.local())
    assert options["Cluster", "onprem"].deleted_with == "lab"


def test_a_site_that_may_be_reset_is_not_protected() -> None:
    resources, options = register(recording.local())
    assert playbook((resources, options))["reset_allowed"] is True
    assert not any(one.protect for one in options.values())


def test_real_hosts_are_reached_by_the_keys_in_the_file_and_no_machine_is_made() -> None:
    recorded = register(real_hosts())
    assert not [one for one in recorded[0] if one.type.startswith("isthmus:lab:")]
    key = playbook(recorded)["inventory"]["all"]["hosts"]["onprem-1"]["host_key"]
    assert key.startswith("ssh-ed25519 AAAA")


def test_the_cluster_on_real_hosts_is_protected_unless_the_environment_allows_its_reset() -> None:
    recorded = register(real_hosts())
    assert recorded[1]["Playbook", "onprem"].protect, "deleting the playbook wipes the hosts"
    assert playbook(recorded)["reset_allowed"] is False


def test_machines_of_a_lab_that_must_not_be_reset_are_protected() -> None:
    local = recording.local()
    kept = local.model_copy(update={"onprem": local.onprem.model_copy(update={"reset_allowed": False})})
    _, options = register(kept)
    protected = {kind for (kind, _), one in options.items() if one.protect}
    assert protected == {"Network", "Machine", "Playbook"}


def test_hosts_are_looked_at_on_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert playbook(register(recording.local()))["check_on_diff"] is False
    monkeypatch.setenv(settings.HOSTS_VARIABLE, "1")
    assert playbook(register(recording.local()))["check_on_diff"] is True


def test_without_a_key_the_fix_is_named() -> None:
    settings.authorized_key_file("local").unlink()
    with pytest.raises(settings.NotSetUp, match="run: make up ENV=local"):
        register(recording.local())
