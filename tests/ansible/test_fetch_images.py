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
    shell = Templar(loader=DataLoader(), variables=known).template(
        trust_as_template(task["ansible.builtin.shell"]["cmd"])
    )
    return subprocess.Popen(["/bin/bash", "-c", shell])


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


@pytest.mark.parametrize(("changed", "after"), [(["three"], "/etc/cni/net.d"), (["one", "two", "three"], "")])
def test_only_a_node_more_in_a_cluster_that_is_there_waits_for_its_network(changed: list[str], after: str) -> None:
    (play,) = [one for one in yaml.safe_load((ANSIBLE / "site.yml").read_text()) if one["name"] == "Images of pods"]
    groups = {"control_plane": ["one", "two"], "worker": ["one", "three"], "load_balancer": ["one"], "changed": changed}
    known: dict[str, Any] = {"groups": groups}
    for variables in (play["vars"], play["tasks"][0]["vars"]):
        for name in ("site_members", "kubernetes_node_images_after"):
            if name in variables:
                known[name] = Templar(loader=DataLoader(), variables=known).template(trust_as_template(variables[name]))
    assert known["kubernetes_node_images_after"] == after
