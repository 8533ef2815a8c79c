"""What a host with NVIDIA GPUs is given, and that other hosts are given nothing of it."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from infra.platform.device_plugins import NVIDIA_RUNTIME
from tests.ansible.conftest import ANSIBLE, Render, role_yaml


def _tasks() -> list[dict[str, Any]]:
    return role_yaml("nvidia", "tasks/main.yml")


def _task(module: str) -> list[dict[str, Any]]:
    return [task[module] for task in _tasks() if module in task]


def test_the_role_runs_on_the_hosts_of_its_group_alone() -> None:
    plays: list[dict[str, Any]] = yaml.safe_load((ANSIBLE / "site.yml").read_text())
    named = [play for play in plays if "nvidia" in str(play.get("roles", []))]
    assert [play["hosts"] for play in named] == ["nvidia:&changed"]
    order = [play["name"] for play in plays]
    assert order.index("Container runtimes and kubelets") < order.index("GPUs") < order.index("Control planes"), (
        "containerd is there before"
    )


def test_containerd_gets_a_second_runtime_in_a_file_that_its_own_role_does_not_write(render: Render) -> None:
    runtimes = tomllib.loads(render("nvidia", "containerd.toml.j2"))["plugins"]["io.containerd.cri.v1.runtime"][
        "containerd"
    ]["runtimes"]
    assert runtimes["nvidia"]["options"]["BinaryName"] == "/usr/bin/nvidia-container-runtime"

    own = tomllib.loads(render("containerd", "config.toml.j2"))
    there = own["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"]
    assert runtimes["nvidia"]["runtime_type"] == there["runc"]["runtime_type"]
    assert runtimes["nvidia"]["options"]["SystemdCgroup"] == there["runc"]["options"]["SystemdCgroup"]
    place = role_yaml("nvidia", "vars/main.yml")["__nvidia_containerd"]
    assert [one for one in own["imports"] if fnmatch.fnmatch(place, one)], "containerd reads it"
    written = {file["dest"] for file in role_yaml("containerd", "vars/main.yml")["__containerd_configuration"]}
    assert place not in written


def test_the_runtime_has_the_name_that_pods_ask_for(render: Render) -> None:
    assert f"containerd.runtimes.{NVIDIA_RUNTIME}]" in render("nvidia", "containerd.toml.j2")


def test_containerd_is_restarted_when_the_file_is_newer_than_it() -> None:
    (units,) = [task["units"] for task in _task("isthmus.host.files") if "units" in task]
    files = {unit["name"]: unit.get("files", []) for unit in units}
    assert files["containerd"] == ["{{ __nvidia_containerd }}", "{{ __nvidia_containerd_service }}"]
    assert files["nvidia-dcgm-exporter"] == ["{{ __nvidia_exporter }}"]


def test_the_devices_are_linked_where_systemd_is_told_of_them_before_containerd_starts(render: Render) -> None:
    lines = render("nvidia", "containerd.service.conf.j2").splitlines()
    (before,) = [line for line in lines if line.startswith("ExecStartPre=")]
    program, _, arguments = before.removeprefix("ExecStartPre=").partition(" ")
    assert program == "-/usr/bin/nvidia-ctk", "containerd starts where it fails too"
    assert arguments.startswith("system create-dev-char-symlinks --create-all")
    place = role_yaml("nvidia", "vars/main.yml")["__nvidia_containerd_service"]
    assert place.startswith("/etc/systemd/system/containerd.service.d/")


def test_every_package_that_is_installed_is_pinned(render: Render) -> None:
    packages = role_yaml("nvidia", "defaults/main.yml")["nvidia_packages"]
    blocks = [block for block in render("nvidia", "preferences.j2").split("\n\n") if "Package: " in block]
    pinned = {}
    for block in blocks:
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith("#"))
        assert lines["Pin-Priority"] == "1001"
        pinned[lines["Package"]] = lines["Pin"].removeprefix("version ")
    (patterns,) = pinned.keys() - packages.keys()
    assert pinned.pop(patterns) == packages["nvidia-driver-cuda"]
    assert pinned == packages


@pytest.mark.parametrize("depends", ["(= {version})", "(>= {version})"])
def test_apt_takes_all_parts_of_the_driver_from_one_branch(render: Render, tmp_path: Path, depends: str) -> None:
    """By apt itself, of a repository that has two branches, as NVIDIA's has."""
    parts = {"nvidia-driver-cuda": ["libcuda1", "nvidia-kernel-support"], "libcuda1": ["libnvidia-ml1"]}
    branches = ("580.95.05-1", "610.12.01-1")
    names = ("nvidia-driver-cuda", "libcuda1", "nvidia-kernel-support", "libnvidia-ml1")
    listed = [(name, version) for name in names for version in branches]
    listed += [("libnvidia-container1", "1.19.0-1"), ("libnvidia-container1", "1.20.0-1")]
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "Packages").write_text(
        "".join(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a test\n"
            f"Filename: ./{name}_{version}.deb\nSize: 1\nSHA256: {'0' * 64}\n"
            + "".join(
                f"Depends: {', '.join(f'{one} {depends.format(version=version)}' for one in parts[name])}\n"
                for _ in parts.get(name, [])[:1]
            )
            + "\n"
            for name, version in listed
        )
    )
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/repository ./\n")
    (tmp_path / "preferences").write_text(render("nvidia", "preferences.j2"))
    for folder in ("lists/partial", "cache/archives/partial", "none"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "status").touch()
    places = {
        "Etc::SourceList": "sources.list",
        "Etc::SourceParts": "none",
        "Etc::Preferences": "preferences",
        "Etc::PreferencesParts": "none",
        "State::Lists": "lists",
        "State::status": "status",
        "Cache": "cache",
    }
    options = [f"-oDir::{name}={tmp_path / place}" for name, place in places.items()]

    def apt(*arguments: str) -> str:
        command = ["apt-get", "-oAPT::Sandbox::User=root", *options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    apt("update")
    wanted = ["nvidia-driver-cuda", "libnvidia-container1"]
    installed = re.findall(r"^Inst (\S+) \((\S+) ", apt("install", "--simulate", *wanted), re.MULTILINE)
    assert dict(installed) == {**dict.fromkeys(names, branches[0]), "libnvidia-container1": "1.19.0-1"}


@pytest.mark.parametrize(
    ("release", "meta"),
    [
        ("6.1.0-27-amd64", "linux-headers-amd64"),
        ("6.1.0-27-cloud-amd64", "linux-headers-cloud-amd64"),
        ("6.12.41+deb13-amd64", "linux-headers-amd64"),
        ("6.1.0-0.deb11.13-arm64", "linux-headers-arm64"),
    ],
)
def test_the_kernel_that_an_update_brings_has_its_headers_too(release: str, meta: str) -> None:
    known = {
        name: trust_as_template(value)
        for name, value in role_yaml("nvidia", "vars/main.yml").items()
        if isinstance(value, str)
    }
    known["__nvidia_host"] = {"stdout_lines": [release]}
    headers = [trust_as_template(one) for one in role_yaml("nvidia", "vars/main.yml")["__nvidia_headers"]]
    found = Templar(loader=DataLoader(), variables=known).template(headers)
    assert found == [f"linux-headers-{release}", meta]


def test_check_mode_asks_no_driver_that_is_not_installed_yet() -> None:
    for task in _tasks():
        if "nvidia-smi" in str(task) or "ansible.builtin.assert" in task:
            assert task["when"] == "not ansible_check_mode", task["name"]
        if "ansible.builtin.shell" in task:
            assert task["check_mode"] is False, task["name"]
            assert task["changed_when"] is False, task["name"]


def test_the_exporter_tells_which_pod_has_a_device(render: Render) -> None:
    assert "Environment=DCGM_EXPORTER_KUBERNETES=true" in render("nvidia", "exporter.conf.j2").splitlines()
