"""The lab's CSI driver on two hosts: upstream's conformance test, and what it does not ask."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.providers.csi.conftest import Lab
from tests.providers.csi.hosts import MIB, POOL, SOCKET, Host, Refused, capability

pytestmark = pytest.mark.machine

FULL = "Disk quota exceeded"
OFFERED = 45
"""At least so many cases are of parts that the driver offers."""


def test_it_passes_upstreams_conformance_test(lab: Lab) -> None:
    host = lab.one
    arguments = [f"--csi.endpoint=unix://{SOCKET}", "--csi.mountdir=/tmp/sanity-target", "--csi.stagingdir=/tmp/sanity"]
    # Small, because what is promised counts against the pool whether it is written or not.
    arguments += [f"--csi.testvolumesize={64 * MIB}", f"--csi.testvolumeexpandsize={128 * MIB}"]
    command = host.podman.command("exec", host.name, "/csi-sanity", *arguments, "--ginkgo.no-color")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed, failed, skipped = map(int, _counts(done.stdout))
    print(f"csi-sanity: {passed} passed, {skipped} passed over")
    assert failed == 0
    assert passed >= OFFERED, "parts that the driver offers were passed over"


def _counts(said: str) -> tuple[str, str, str]:
    found = re.search(r"(\d+) Passed \| (\d+) Failed \| \d+ Pending \| (\d+) Skipped", said)
    assert found, said[-2000:]
    return found[1], found[2], found[3]


def test_one_device_serves_all_hosts(lab: Lab) -> None:
    assert len(lab.devices()) == 1, "two devices of one image are two file systems that overwrite each other"


def test_what_volumes_hold_in_memory_the_pools_image_does_not_hold_again(lab: Lab) -> None:
    (device,) = lab.devices()
    assert Path("/sys/block", Path(device).name, "loop/dio").read_text().strip() == "1"


def test_a_write_beyond_the_quota_fails_until_the_volume_is_expanded_in_use(lab: Lab) -> None:
    volume = lab.one.create("quota", 20 * MIB)
    lab.one.publish(volume, "/mnt/quota")
    assert lab.one.write("/mnt/quota/file", 30 * MIB) == FULL
    stats = lab.one.call("Node", "NodeGetVolumeStats", volume_id=volume, volume_path="/mnt/quota")
    (usage,) = stats["usage"]
    assert int(usage["total"]) == 20 * MIB
    assert int(usage["used"]) <= 20 * MIB
    answer = lab.two.call(
        "Controller", "ControllerExpandVolume", volume_id=volume, capacity_range={"required_bytes": 60 * MIB}
    )
    assert answer.get("node_expansion_required", False) is False
    assert lab.one.write("/mnt/quota/file", 30 * MIB) == ""


def test_two_hosts_see_each_others_writes_at_once(lab: Lab) -> None:
    volume = lab.one.create("shared", 20 * MIB)
    for host in (lab.one, lab.two):
        host.publish(volume, "/mnt/shared")
    for writer, reader in ((lab.one, lab.two), (lab.two, lab.one)):
        assert writer.write(f"/mnt/shared/{writer.name}", MIB) == ""
        assert reader.read(f"/mnt/shared/{writer.name}") == writer.read(f"/mnt/shared/{writer.name}")


def test_a_snapshot_and_a_clone_are_of_one_moment_and_go_their_own_way(lab: Lab) -> None:
    volume = lab.one.create("origin", 40 * MIB)
    lab.one.publish(volume, "/mnt/origin")
    lab.one.write("/mnt/origin/file", 30 * MIB)
    before = lab.one.read("/mnt/origin/file")
    snapshot = lab.one.call("Controller", "CreateSnapshot", name="then", source_volume_id=volume)["snapshot"]
    clone = lab.one.create("clone", 40 * MIB, volume={"volume_id": volume})
    lab.one.write("/mnt/origin/file", MIB)
    restored = lab.two.create("restored", 50 * MIB, snapshot={"snapshot_id": snapshot["snapshot_id"]})
    for name, copy in (("clone", clone), ("restored", restored)):
        lab.two.publish(copy, f"/mnt/{name}")
        assert lab.two.read(f"/mnt/{name}/file") == before
    assert lab.two.write("/mnt/clone/more", 15 * MIB) == FULL, "what it shares with its origin counts as its own"
    assert lab.two.write("/mnt/restored/more", 15 * MIB) == ""
    lab.one.call("Controller", "DeleteVolume", volume_id=clone)
    assert lab.one.read("/mnt/origin/file") != before


def test_a_volume_is_shown_read_only_where_that_is_asked_for(lab: Lab) -> None:
    volume = lab.one.create("read", 20 * MIB)
    lab.one.publish(volume, "/mnt/read", readonly=True)
    assert lab.one.write("/mnt/read/file", MIB) == "Read-only file system"


@pytest.mark.parametrize(
    "refused",
    [{"block": {}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}, capability() | {"mount": {"fs_type": "xfs"}}],
)
def test_what_a_folder_cannot_be_is_refused(lab: Lab, refused: dict) -> None:
    with pytest.raises(Refused, match="INVALID_ARGUMENT"):
        lab.one.call("Controller", "CreateVolume", name="block", volume_capabilities=[refused])


def test_written_data_survives_power_loss_and_is_used_elsewhere_and_again(lab: Lab) -> None:
    volume = lab.one.create("survives", 40 * MIB)
    lab.one.publish(volume, "/mnt/survives")
    assert lab.one.write("/mnt/survives/file", 20 * MIB) == ""
    written = lab.one.read("/mnt/survives/file")
    lab.one.lose_power()
    lab.two.publish(volume, "/mnt/survives")
    assert lab.two.read("/mnt/survives/file") == written
    assert lab.two.write("/mnt/survives/after", MIB) == ""
    lab.one.podman("start", lab.one.name)
    lab.one.call("Identity", "Probe")
    lab.one.publish(volume, "/mnt/survives")
    assert lab.one.read("/mnt/survives/after") == lab.two.read("/mnt/survives/after")
    assert len(lab.devices()) == 1


def test_a_pool_that_no_host_has_leaves_no_device_and_comes_back_whole(lab: Lab) -> None:
    volume = lab.one.create("whole", 20 * MIB)
    lab.one.publish(volume, "/mnt/whole")
    lab.one.write("/mnt/whole/file", MIB)
    written = lab.one.read("/mnt/whole/file")
    for host in (lab.one, lab.two):
        host.lose_power()
    deadline = time.monotonic() + 10
    while lab.devices():
        assert time.monotonic() < deadline, f"{lab.devices()} is still there"
        time.sleep(0.1)
    for host in (lab.one, lab.two):
        host.podman("start", host.name)
        host.call("Identity", "Probe")
    lab.two.publish(volume, "/mnt/whole")
    assert lab.two.read("/mnt/whole/file") == written
    assert len(lab.devices()) == 1


def test_a_pool_grows_in_use_when_the_environment_says_so(lab: Lab) -> None:
    before = int(lab.one.call("Controller", "GetCapacity")["available_capacity"])
    third = Host(lab.one.podman, "csi-test-3", lab.one.image, lab.folder, lab.one.sanity)
    third.start(2 * POOL)
    after = int(third.call("Controller", "GetCapacity")["available_capacity"])
    assert after - before == int(POOL * 0.9)
    size = lab.one.python("import os; found = os.statvfs('/pool'); print(found.f_blocks * found.f_frsize)")
    assert int(size) == 2 * POOL, "every host sees it"
