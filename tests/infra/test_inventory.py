"""What Ansible is told, as the roles expect it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra import environment, inventory
from infra.artifacts import ArtifactError, Index
from infra.environment import Onprem
from infra.naming import OBJECT_STORE
from infra.paths import ROOT
from tests.infra import recording

LOCAL = recording.local()
INDEX = recording.index()
VARIABLES = inventory.variables("onprem", LOCAL.onprem, "v1.37.2", INDEX)


def made(site: Onprem) -> dict:
    return inventory.inventory(site, {host.name: f"ssh-ed25519 {host.name}" for host in site.hosts})["all"]


def valid(name: str) -> Onprem:
    return environment.load(ROOT / "tests" / "environments" / "valid" / f"{name}.yaml").onprem


def test_every_group_exists_even_when_it_is_empty() -> None:
    site = LOCAL.onprem
    none = site.model_copy(update={"hosts": tuple(h.model_copy(update={"roles": ("worker",)}) for h in site.hosts)})
    groups = made(none)["children"]
    assert {name: len(group["hosts"]) for name, group in groups.items()} == {
        "control_plane": 0,
        "worker": 3,
        "load_balancer": 0,
        "nvidia": 0,
    }


def test_hosts_with_nvidias_devices_are_a_group() -> None:
    site = LOCAL.onprem
    keys = {host.name: "ssh-ed25519 key" for host in site.hosts}
    assert inventory.inventory(site, keys, ["onprem-2"])["all"]["children"]["nvidia"] == {"hosts": {"onprem-2": {}}}


def test_a_host_is_reached_as_the_environment_says_and_known_by_its_key() -> None:
    host = made(LOCAL.onprem)["hosts"]["onprem-2"]
    assert host == {
        "ansible_host": "10.90.0.12",
        "ansible_port": 22,
        "ansible_user": "root",
        "host_key": "ssh-ed25519 onprem-2",
        "node_labels": {},
        "node_taints": [],
    }


def test_a_control_plane_that_is_no_worker_keeps_workloads_away() -> None:
    hosts = made(valid("single-control-plane"))["hosts"]
    assert hosts["onprem-1"]["node_taints"] == [inventory.CONTROL_PLANE_TAINT]
    assert hosts["onprem-2"]["node_taints"] == []


def test_labels_and_taints_of_a_host_reach_its_node() -> None:
    host = made(valid("real-hosts"))["hosts"]["onprem-3"]
    assert (host["node_labels"], host["node_taints"]) == ({"accelerator": "nvidia"}, ["gpu=true:NoSchedule"])


def test_files_are_fetched_from_the_mirror_by_their_digest() -> None:
    digest = INDEX.artifact("kubeadm").digest
    assert VARIABLES["files"]["kubeadm"] == {
        "url": f"http://10.90.0.2:5000/v2/files/kubeadm/blobs/{digest}",
        "sha256": digest.removeprefix("sha256:"),
    }


def test_images_are_pulled_beforehand_under_the_name_that_pods_give_containerd() -> None:
    assert "registry.example/kube-apiserver:v1" in VARIABLES["images"], "kubeadm names images by tag"
    garage = f"registry.example/garage@{INDEX.artifact('garage').digest}"
    assert garage in VARIABLES["worker_images"], "our pods name images by digest"


def test_variables_are_plain_values_so_that_any_change_of_them_can_be_shown() -> None:
    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(item) for key, item in value.items())
        if isinstance(value, list):
            return all(plain(item) for item in value)
        return type(value) in (str, int, bool)

    assert plain(VARIABLES)
    services = inventory.variables("onprem", LOCAL.onprem, "v1.37.2", INDEX, [OBJECT_STORE])["tcp_services"]
    assert plain(services)
    assert services == [{"name": "object-store", "port": 3900, "node_port": 30390}]


def test_the_plays_read_every_variable() -> None:
    """A variable that neither a play nor preflight's rules read is a name that the two sides do not agree on."""
    text = "\n".join(path.read_text() for path in _plays())
    text = re.sub(r'^    "\w+": .*$', "", text, flags=re.MULTILINE)  # preflight's list of names and types reads none
    unread = [name for name in VARIABLES if name not in text]
    assert not unread, f"the plays read none of {unread}"


def _plays() -> list[Path]:
    folder = ROOT / "ansible"
    return [*folder.glob("*.yml"), *folder.glob("collections/**/filter/*.py")]


def test_an_artefact_that_the_mirror_lacks_is_named_with_the_fix() -> None:
    with pytest.raises(ArtifactError, match="'kubeadm'; run: make mirror ARGS=sync"):
        inventory.variables("onprem", LOCAL.onprem, "v1.37.2", Index(artifacts={}))
