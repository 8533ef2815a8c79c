"""Network and Machine for real: boots throwaway machines on a network of their own, breaks them, removes all traces."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.artifacts import ArtifactError, Index
from infra.providers.isthmus import hostprep, lab
from infra.providers.isthmus.handler import Context, ResourceError
from infra.providers.isthmus.log import EngineLog
from infra.providers.isthmus.machine import Machine, await_ssh
from infra.providers.isthmus.network import Network, await_mirror, refuse_taken
from infra.providers.isthmus.podman import CGROUP_PARENT, Podman

pytestmark = pytest.mark.machine

CTX = Context(urn="", preview=False, log=EngineLog())
NAME, ADDRESS = "lab-test-1", "10.91.0.11"


@dataclass(frozen=True)
class TestLab:
    """One network with a mirror and one machine, in a store of its own."""

    __test__ = False
    podman: Podman
    network: dict[str, Any]
    machine: dict[str, Any]

    def run(self, *command: str) -> str:
        return self.podman.execute(NAME, *command).strip()


@pytest.fixture(scope="module")
def store() -> Iterator[Path]:
    # Not pytest's tmp_path: podman's sockets need short paths, and its storage must not outlive a failed test.
    folder = Path(tempfile.mkdtemp(prefix="isthmus-lab-"))
    yield folder
    podman = Podman(root=folder / "podman", run=folder / "run")
    lab.remove_lab(podman=podman)
    podman("rmi", "--all", "--force")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def made(store: Path) -> TestLab:
    try:
        index = Index.load()
        image, registry = index.artifact("machine"), index.artifact("registry")
    except ArtifactError as error:
        pytest.fail(f"these tests boot the lab's machine image: {error}")
    podman = Podman(root=store / "podman", run=store / "run")
    common = {
        "image": str(image.local),
        "image_digest": image.digest,
        "checkout": str(store),
        "environment": "test",
    }
    network = {
        **common,
        "name": "lab-test",
        "cidr": "10.91.0.0/24",
        "gateway": "10.91.0.1",
        "mirror_address": "10.91.0.2",
        "registry_binary": str(registry.local),
        "registry_storage": str(store / "registry"),
        "kind": "site",
    }
    machine = {
        **common,
        "hostname": NAME,
        "network": "lab-test",
        "address": ADDRESS,
        "authorized_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFirst",
        "disks": {"/var/lib/etcd": str(store / "disks" / "etcd")},
        "shared": {"/srv/nas": str(store / "nas")},
    }
    Network(podman).create(CTX, network)
    _, state = Machine(podman).create(CTX, machine)
    return TestLab(podman=podman, network=network, machine=state)


def inputs(made: TestLab, **changed: str) -> dict[str, Any]:
    return {key: value for key, value in made.machine.items() if key not in Machine.outputs} | changed


def eventually(what: Callable[[], bool], patience_s: float = 30) -> bool:
    deadline = time.monotonic() + patience_s
    while not (held := what()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return held


def test_a_machine_boots_whole_with_its_own_host_key(made: TestLab) -> None:
    assert made.machine["status"] == "running"
    assert made.machine["host_key"].startswith("ssh-ed25519 AAAA")
    assert eventually(lambda: made.run("sh", "-c", "systemctl is-system-running || true") == "running")
    assert made.run("cat", "/root/.ssh/authorized_keys") == made.machine["authorized_key"]
    assert "shared" in made.run("sh", "-c", "grep ' / / ' /proc/self/mountinfo"), "the kubelet passes mounts on"


def test_the_mirror_answers_the_machine_and_takes_nothing(made: TestLab) -> None:
    code = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*"]
    assert made.run(*code, "http://10.91.0.2:5000/v2/") == "200"
    assert made.run(*code, "-X", "POST", "http://10.91.0.2:5000/v2/x/blobs/uploads/") == "405"


@pytest.mark.parametrize("key", ["kernel.panic", "vm.overcommit_memory", "kernel.unprivileged_bpf_disabled"])
def test_a_machine_cannot_change_the_hosts_kernel_settings(made: TestLab, key: str) -> None:
    before = hostprep.read_sysctl(key)
    path = "/proc/sys/" + key.replace(".", "/")
    if before is None:
        pytest.skip(f"this kernel has no {key}")
    wanted = "1" if before != "1" else "2"
    assert made.run("sh", "-c", f"echo {wanted} > {path}; cat {path}") == wanted, "the machine sees what it wrote"
    assert hostprep.read_sysctl(key) == before


def test_making_it_again_takes_over_what_is_there(made: TestLab) -> None:
    _, again = Machine(made.podman).create(CTX, inputs(made))
    assert again == made.machine
    assert Machine(made.podman).diff(CTX, NAME, made.machine, inputs(made)) == []
    assert Network(made.podman).diff(CTX, "lab-test", made.network, made.network) == []


def test_an_uplink_is_reached_from_a_site_until_it_is_cut(made: TestLab) -> None:
    uplink = {**made.network, "name": "lab-test-up", "cidr": "198.18.9.0/24", "gateway": "198.18.9.1", "kind": "uplink"}
    uplink |= {"mirror_address": "", "registry_binary": "", "registry_storage": ""}
    news = inputs(made, hostname="lab-test-2", address="10.91.0.12", disks={}, uplinks={"lab-test-up": "198.18.9.2"})

    def reached() -> bool:
        return made.run("sh", "-c", "ping -c 1 -W 2 198.18.9.2 >/dev/null && echo yes || echo no") == "yes"

    Network(made.podman).create(CTX, uplink)
    try:
        _, state = Machine(made.podman).create(CTX, news)
        assert "eth1" in made.podman.execute("lab-test-2", "ip", "-o", "-4", "addr", "show", "to", "198.18.9.2")
        assert reached(), "answers of an uplink must get through this machine, too"
        lab.machine_power("lab-test-2", "cut", made.podman)
        assert not reached()
        lab.machine_power("lab-test-2", "heal", made.podman)
        assert eventually(reached)
        with pytest.raises(ResourceError, match="has no uplinks"):
            lab.machine_power(NAME, "cut", made.podman)
        Machine(made.podman).delete(CTX, "lab-test-2", state)
    finally:
        Network(made.podman).delete(CTX, "lab-test-up", uplink)


def test_a_new_key_is_put_in_place_without_a_new_machine(made: TestLab) -> None:
    news = inputs(made, authorized_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAISecond")
    handler = Machine(made.podman)
    assert [(change.path, change.replace) for change in handler.diff(CTX, NAME, made.machine, news)] == [
        ("authorized_key", False)
    ]
    state = handler.update(CTX, NAME, made.machine, news)
    assert state["container_id"] == made.machine["container_id"]
    assert made.run("cat", "/root/.ssh/authorized_keys").endswith("Second")
    handler.update(CTX, NAME, state, inputs(made))


@pytest.mark.parametrize(("fault", "status"), [("power-off", "stopped"), ("freeze", "paused")])
def test_a_fault_is_seen_stays_and_is_healed_with_the_disk_kept(made: TestLab, fault: str, status: str) -> None:
    handler = Machine(made.podman)
    made.run("sh", "-c", f"echo {fault} > /var/lib/etcd/written; echo {fault} > /etc/written; sync")
    assert lab.machine_power(NAME, fault, made.podman) == status
    time.sleep(1)
    seen = handler.read(CTX, NAME, made.machine)
    assert seen is not None
    assert seen["status"] == status, "nothing may bring it back by itself"
    assert [change.path for change in handler.diff(CTX, NAME, seen, inputs(made))] == ["status"]
    healed = handler.update(CTX, NAME, seen, inputs(made))
    assert (healed["status"], healed["host_key"]) == ("running", made.machine["host_key"])
    assert made.run("cat", "/var/lib/etcd/written", "/etc/written").split() == [fault, fault]


def test_a_reboot_comes_back_by_itself(made: TestLab) -> None:
    made.run("touch", "/run/before")
    lab.machine_power(NAME, "reboot", made.podman)
    ran_before = ["sh", "-c", "test -e /run/before && echo yes || echo no"]

    def rebooted() -> bool:
        try:
            return made.run(*ran_before) == "no"
        except ResourceError:
            return False

    assert eventually(rebooted)
    await_ssh(NAME, ADDRESS, CTX)


def test_the_mirror_is_healed_too_and_the_bridge_keeps_its_hardware_address(made: TestLab) -> None:
    handler = Network(made.podman)
    made.podman("kill", "lab-test-mirror")
    assert eventually(lambda: handler._status(made.network) == "stopped")
    assert [change.path for change in handler.diff(CTX, "lab-test", made.network, made.network)] == ["status"]
    state = handler.update(CTX, "lab-test", made.network, made.network)
    await_mirror(state["mirror_url"])
    assert Path("/sys/class/net", state["bridge"], "address").read_text().strip() == lab.mac_of("10.91.0.1")


def test_a_live_lab_is_refused_by_name_to_another_checkout(made: TestLab) -> None:
    with pytest.raises(ResourceError, match=rf"{made.network['checkout']} runs on this host.*make down ALL=1"):
        Network(made.podman).create(CTX, {**made.network, "checkout": "/elsewhere"})
    with pytest.raises(ResourceError, match="another lab"):
        Machine(made.podman).create(CTX, inputs(made, checkout="/elsewhere"))
    assert [(found.environment, found.machines, found.alive) for found in lab.labs(made.podman)] == [
        ("test", {NAME: "running"}, True)
    ]


def test_a_network_that_the_host_has_already_is_refused_by_its_interface(made: TestLab) -> None:
    bridge = Network(made.podman).update(CTX, "lab-test", made.network, made.network)["bridge"]
    with pytest.raises(ResourceError, match=f"interface {bridge}"):
        refuse_taken("10.91.0.128/25", set())


def test_a_machine_whose_container_is_lost_is_made_anew(made: TestLab) -> None:
    handler = Machine(made.podman)
    made.podman.remove(NAME)
    seen = handler.read(CTX, NAME, made.machine)
    assert seen is not None
    assert seen["status"] == "missing"
    assert handler.update(CTX, NAME, seen, inputs(made))["status"] == "running"


def test_a_dead_lab_makes_room_and_nothing_of_it_is_left(made: TestLab, store: Path) -> None:
    bridge = made.podman.list_networks()[0]["network_interface"]
    for name in (NAME, "lab-test-mirror"):
        made.podman("kill", name)
    assert eventually(lambda: not any(found.alive for found in lab.labs(made.podman)))
    lab.claim("/elsewhere", "test", made.podman)
    assert lab.labs(made.podman) == []
    assert made.podman.containers() == []
    assert not Path("/sys/class/net", bridge).exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{CGROUP_PARENT}/libpod-{made.machine['container_id']}*"))
    mounts = subprocess.run(["findmnt", "--list", "--noheadings", "--output", "TARGET"], capture_output=True, text=True)
    left = [line for line in mounts.stdout.splitlines() if line.startswith(str(store))]
    assert [line for line in left if not line.endswith("/podman/overlay")] == []
    assert (store / "disks" / "etcd" / "written").exists(), "another checkout's data is not ours to remove"


def test_deleting_a_machine_removes_its_disks_and_leaves_what_it_shared(made: TestLab, store: Path) -> None:
    Network(made.podman).create(CTX, made.network)
    _, state = Machine(made.podman).create(CTX, inputs(made))
    made.run("touch", "/srv/nas/written")
    Machine(made.podman).delete(CTX, NAME, state)
    assert not (store / "disks" / "etcd").exists()
    assert (store / "nas" / "written").exists()
    Machine(made.podman).delete(CTX, NAME, state)
    Network(made.podman).delete(CTX, "lab-test", made.network)
    assert made.podman.list_networks() == []
