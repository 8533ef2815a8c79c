"""The host's settings and packet filter: as before, after the last lab is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.paths import ROOT
from infra.providers.isthmus import hostprep
from infra.providers.isthmus.hostprep import REALTIME, REALTIME_FILE, Host

SYSCTLS = {
    "net.bridge.bridge-nf-call-iptables": "1",
    "fs.inotify.max_user_instances": "128",
    "fs.inotify.max_user_watches": "999999",
    "kernel.panic": "0",
}


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A kernel that is a dictionary: the host's own settings stay out of it."""
    settings = dict(SYSCTLS)

    def write(key: str, value: str) -> bool:
        settings[key] = value
        return True

    monkeypatch.setattr(hostprep, "RUN", tmp_path / "run")
    monkeypatch.setattr(hostprep, "read_sysctl", settings.get)
    monkeypatch.setattr(hostprep, "write_sysctl", write)
    monkeypatch.setattr(hostprep, "attempt", lambda *_: "")
    monkeypatch.setattr(hostprep.os, "geteuid", lambda: 0)
    return settings


def test_settings_are_changed_for_a_lab_and_put_back_after(kernel: dict[str, str], tmp_path: Path) -> None:
    hostprep.prepare(tmp_path)
    hostprep.prepare(tmp_path)
    assert kernel["net.bridge.bridge-nf-call-iptables"] == "0"
    assert kernel["fs.inotify.max_user_instances"] == "8192"
    assert kernel["fs.inotify.max_user_watches"] == "999999", "a host that has more keeps it"
    kernel["kernel.panic"] = "10"
    assert hostprep.release(tmp_path) == []
    assert kernel == SYSCTLS
    assert hostprep.release(tmp_path) == [], "a second end finds nothing to do"


def test_settings_stay_while_another_lab_needs_them(kernel: dict[str, str], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        hostprep.prepare(folder)
    hostprep.release(first)
    assert kernel["net.bridge.bridge-nf-call-iptables"] == "0"
    hostprep.release(second)
    assert kernel == SYSCTLS


def test_a_setting_that_the_kernel_keeps_is_told(
    kernel: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostprep.prepare(tmp_path)
    kernel["kernel.panic"] = "10"
    monkeypatch.setattr(hostprep, "write_sysctl", lambda *_: False)
    assert "kernel.panic=0" in hostprep.release(tmp_path)


def test_limits_are_never_raised_without_the_capability() -> None:
    host = Host.detect()
    assert host.cgroup_version in (1, 2)
    if not host.sys_resource:
        assert host.open_files <= int(subprocess.check_output(["bash", "-c", "ulimit -Hn"]))
    assert host.ulimits()[1] == f"nofile={host.open_files}:{host.open_files}"


def test_machines_get_real_time_where_the_kernel_keeps_it_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostprep, "REALTIME", tmp_path)
    assert Host.detect().realtime() == []
    hostprep.allow_realtime("labs")
    assert not list(tmp_path.iterdir()), "there is nothing to allow"

    (tmp_path / hostprep.REALTIME_FILE).write_text("950000")
    flag, micros = Host.detect().realtime()
    assert flag == "--cpu-rt-runtime"
    hostprep.allow_realtime("labs")
    hostprep.allow_realtime("labs")
    allowed = int((tmp_path / "labs" / hostprep.REALTIME_FILE).read_text())
    assert 8 * int(micros) <= allowed < 950000, "a lab of both sites has that many machines"


# Runs in a network namespace of its own, where the packet filter is empty and ours to fill.
FILTERS = """
import json, subprocess, sys
from infra.providers.isthmus import hostprep
def run(line): subprocess.run(line.split(), check=True)
run("nft add table inet kept")
before = hostprep._nft_tables()
for chain in ("NETAVARK-HOSTPORT-DNAT", "NETAVARK-HOSTPORT-MASQ", *sys.argv[1:]):
    run(f"iptables -t nat -N {chain}")
run("iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j NETAVARK-HOSTPORT-DNAT")
run("iptables -t nat -A POSTROUTING -j NETAVARK-HOSTPORT-MASQ")
for chain in ("NETAVARK_FORWARD", "NETAVARK_ISOLATION_1", "NETAVARK_ISOLATION_2"):
    run(f"iptables -N {chain}")
run("iptables -A NETAVARK_ISOLATION_1 -j NETAVARK_ISOLATION_2")
subprocess.run([*"iptables -A FORWARD -m comment --comment".split(), "two words", "-j", "NETAVARK_FORWARD"], check=True)
hostprep.remove_packet_filters(keep=before)
print(json.dumps(hostprep._nft_tables()))
"""


@pytest.mark.machine
@pytest.mark.parametrize(
    ("others", "left"), [([], ["inet kept"]), (["NETAVARK-1D8721804F16F"], ["inet kept", "ip nat", "ip filter"])]
)
def test_packet_filters_go_unless_another_podman_uses_them(others: list[str], left: list[str]) -> None:
    command = ["unshare", "--net", sys.executable, "-c", FILTERS, *others]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == left


@pytest.mark.machine
@pytest.mark.skipif(not (REALTIME / REALTIME_FILE).exists(), reason="this kernel gives cgroups no real time")
def test_a_lab_gets_its_real_time_right_after_the_one_before_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel counts what the earlier one had for a moment longer; together they would have too much."""
    given = [int((folder / REALTIME_FILE).read_text()) for folder in REALTIME.iterdir() if folder.is_dir()]
    budget = 2 * (int((REALTIME / REALTIME_FILE).read_text()) - sum(given)) // 3
    monkeypatch.setattr(hostprep, "LAB_REALTIME_US", budget)
    for _ in range(5):
        hostprep.allow_realtime("isthmus-test")
        try:
            assert int((REALTIME / "isthmus-test" / REALTIME_FILE).read_text()) == budget
        finally:
            (REALTIME / "isthmus-test").rmdir()
