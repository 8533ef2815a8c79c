"""The shell of role kubernetes_node that fetches images, run with a stub of containerd's command."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.ansible.conftest import ANSIBLE, role_yaml


def _fetching(tmp_path: Path, after: str) -> subprocess.Popen[bytes]:
    (task,) = role_yaml("kubernetes_node", "tasks/fetch_images.yml")
    stub = tmp_path / "ctr"
    stub.write_text(f'#!/bin/sh\nshift 6\necho "$@" >> {tmp_path}/fetched\n')
    stub.chmod(0o755)
    known: dict[str, Any] = {
        **role_yaml("kubernetes_node", "defaults/main.yml"),
        "kubernetes_node_bin_dir": str(tmp_path),
        "kubernetes_node_images_after": after,
        "__kubernetes_node_missing": ["quay.io/one@sha256:1", "quay.io/two@sha256:2"],
    }
    argv = task["ansible.builtin.command"]["argv"]
    shell = Templar(loader=DataLoader(), variables=known).template(trust_as_template(argv[-1]))
    return subprocess.Popen([*argv[argv.index("/bin/bash") : -1], shell])


def _fetched(tmp_path: Path) -> list[str]:
    return sorted((tmp_path / "fetched").read_text().split())


def test_images_are_fetched_at_once(tmp_path: Path) -> None:
    assert _fetching(tmp_path, "").wait(10) == 0
    assert _fetched(tmp_path) == ["quay.io/one@sha256:1", "quay.io/two@sha256:2"]


def test_where_a_folder_is_waited_for_nothing_is_fetched_before_something_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "net.d"
    with _fetching(tmp_path, str(folder)) as fetching:
        with pytest.raises(subprocess.TimeoutExpired):
            fetching.wait(1.5)
        folder.mkdir()
        with pytest.raises(subprocess.TimeoutExpired):
            fetching.wait(1.5)
        assert not (tmp_path / "fetched").exists()
        (folder / "05-cilium.conflist").touch()
        assert fetching.wait(10) == 0
    assert len(_fetched(tmp_path)) == 2


@pytest.mark.parametrize(
    ("changed", "few", "at_once", "after"),
    [(["three"], True, ["cilium"], "/etc/cni/net.d"), (["one", "two", "three"], False, [], "")],
    ids=["a node more", "a new cluster"],
)
def test_a_node_more_fetches_its_networks_image_before_it_joins_and_the_others_after(
    changed: list[str], few: bool, at_once: list[str], after: str
) -> None:
    known: dict[str, Any] = {
        "groups": {"control_plane": ["one", "two"], "changed": changed},
        "ansible_play_hosts_all": ["one", "two", "three"],
        "inventory_hostname": "three",
        "network_images": ["cilium"],
    }

    def templated(text: str) -> Any:
        return Templar(loader=DataLoader(), variables=known).template(trust_as_template(text))

    preflight = yaml.safe_load((ANSIBLE / "preflight.yml").read_text())
    (told,) = [one for play in preflight for task in play["tasks"] if "preflight_few" in (one := _facts(task))]
    known["preflight_few"] = templated(told["preflight_few"])
    plays = {play["name"]: play for play in yaml.safe_load((ANSIBLE / "site.yml").read_text())}
    (role,) = [one for one in plays["Container runtimes and kubelets"]["roles"] if one["role"] == "kubernetes_node"]
    assert known["preflight_few"] is few
    assert templated(role["kubernetes_node_images"]) == at_once
    assert templated(plays["Images of pods"]["tasks"][0]["vars"]["kubernetes_node_images_after"]) == after


@pytest.mark.parametrize(("host", "images"), [("plane", ["cilium"]), ("both", ["cilium", "inference"])])
def test_a_control_plane_that_is_no_worker_fetches_nothing_of_what_workers_run(host: str, images: list[str]) -> None:
    plays = {play["name"]: play for play in yaml.safe_load((ANSIBLE / "site.yml").read_text())}
    asked = plays["Images of pods"]["tasks"][0]["vars"]["kubernetes_node_images"]
    known = {
        "groups": {"control_plane": ["plane", "both"], "worker": ["both"]},
        "inventory_hostname": host,
        "pod_images": ["cilium"],
        "worker_images": ["inference"],
    }
    assert Templar(loader=DataLoader(), variables=known).template(trust_as_template(asked)) == images


def _facts(task: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = task.get("ansible.builtin.set_fact", {})
    return facts


def _waiting(tmp_path: Path, *present: str) -> subprocess.CompletedProcess[str]:
    """The end of the unit is waited for: it is active when asked for the first time."""
    (task,) = role_yaml("kubernetes_node", "tasks/wait_images.yml")
    asked = tmp_path / "asked"
    stubs = {
        "ctr": "; ".join(["true", *(f"echo {image}" for image in present)]),
        "systemctl": f'echo "$@" >> {asked}; test "$(wc -l < {asked})" -lt 2',
        "journalctl": 'echo "journal of $2"',
    }
    for name, does in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    known: dict[str, Any] = {
        "kubernetes_node_bin_dir": str(tmp_path),
        "kubernetes_node_images": ["quay.io/one@sha256:1", "quay.io/two@sha256:2"],
        "__kubernetes_node_fetch": {"stderr": "Running as unit: run-r1f.service; invocation ID: 2a"},
    }
    shell = Templar(loader=DataLoader(), variables=known).template(
        trust_as_template(task["ansible.builtin.shell"]["cmd"])
    )
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    answer = subprocess.run(["/bin/bash", "-c", shell], env=path, capture_output=True, text=True, check=False)
    assert asked.read_text().splitlines() == ["is-active --quiet run-r1f.service"] * 2
    return answer


def test_images_are_there_when_their_unit_has_ended(tmp_path: Path) -> None:
    answer = _waiting(tmp_path, "quay.io/two@sha256:2", "quay.io/other@sha256:3", "quay.io/one@sha256:1")
    assert (answer.returncode, answer.stderr) == (0, "")


def test_images_that_are_not_there_then_are_named_with_what_the_unit_said(tmp_path: Path) -> None:
    answer = _waiting(tmp_path, "quay.io/two@sha256:2")
    assert answer.returncode == 1
    assert answer.stderr.splitlines() == ["not fetched: quay.io/one@sha256:1", "journal of run-r1f.service"]


def test_no_image_at_all_is_there_when_containerd_does_not_answer(tmp_path: Path) -> None:
    answer = _waiting(tmp_path)
    assert answer.returncode == 1
    assert "not fetched: quay.io/one@sha256:1 quay.io/two@sha256:2" in answer.stderr
