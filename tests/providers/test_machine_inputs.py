"""Network, Machine and RandomSecret: what they refuse, and what needs a replacement. Boots nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from infra.providers.isthmus import lab, podman
from infra.providers.isthmus.handler import UNKNOWN, Context, ResourceError
from infra.providers.isthmus.log import EngineLog
from infra.providers.isthmus.machine import Machine
from infra.providers.isthmus.network import Network
from infra.providers.isthmus.podman import Podman, PodmanError, explain
from infra.providers.isthmus.secret import RandomSecret

CTX = Context(urn="", preview=False, log=EngineLog())
NETWORK = {"name": "n", "cidr": "10.91.0.0/24", "gateway": "10.91.0.1", "mirror_address": "10.91.0.2", "kind": "site"}
MACHINE = {"hostname": "m", "address": "10.91.0.11", "authorized_key": "ssh-ed25519 AAAA", "disks": {"/data": "/srv"}}


@pytest.fixture
def store(tmp_path: Path) -> Podman:
    return Podman(root=tmp_path / "root", run=tmp_path / "run")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, {}),
        ({"gateway": UNKNOWN}, {}),
        ({"cidr": "10.91.0.1/24"}, {"cidr": "has host bits set"}),
        ({"mirror_address": "10.92.0.2"}, {"mirror_address": "is 10.92.0.2, which is not in 10.91.0.0/24"}),
        ({"mirror_address": "", "registry_binary": ""}, {}),
        ({"kind": "internet"}, {"kind": "is 'internet', not one of site, uplink"}),
    ],
)
def test_a_network_refuses_addresses_that_cannot_be(
    store: Podman, changed: dict[str, Any], expected: dict[str, str]
) -> None:
    reasons = Network(store).check({**NETWORK, **changed})
    assert reasons.keys() == expected.keys()
    assert all(expected[key] in reasons[key] for key in expected)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"address": "10.91.0.300"}, "address"),
        ({"uplinks": {"n2": "198.18.1"}}, "uplinks"),
        ({"authorized_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "authorized_key"),
        ({"disks": {"data": "/srv"}}, "disks"),
        ({"disks": {"/data": "srv"}}, "disks"),
        ({"shared": {"data": "/srv"}}, "shared"),
        ({"shared": {"/data": "/srv:x"}}, "shared"),
    ],
)
def test_a_machine_refuses_what_podman_would_refuse_half_way(store: Podman, changed: dict[str, Any], key: str) -> None:
    assert list(Machine(store).check({**MACHINE, **changed})) == [key]


def test_a_machine_takes_values_that_are_not_known_yet(store: Podman) -> None:
    assert Machine(store).check(dict.fromkeys(MACHINE, UNKNOWN)) == {}


def test_a_new_image_needs_a_new_machine_and_a_moved_tar_does_not(store: Podman) -> None:
    olds = {**MACHINE, "image": "/a.tar", "image_digest": "sha256:1"}
    changes = Machine(store).diff(CTX, "m", olds, {**olds, "image": "/b.tar", "image_digest": "sha256:2"})
    assert [(change.path, change.replace) for change in changes] == [("image_digest", True)]


@pytest.mark.parametrize("length", [0, -1, 1025, "16", True, 1.5])
def test_a_secret_refuses_a_length_that_is_none(length: Any) -> None:
    assert "bytes" in RandomSecret().check({"bytes": length})


def test_a_secret_is_random_long_and_new_only_with_new_inputs() -> None:
    secret = RandomSecret()
    inputs = {"bytes": 16, "prefix": "GK"}
    (_, first), (_, second) = secret.create(CTX, inputs), secret.create(CTX, inputs)
    assert first["value"] != second["value"]
    assert first["value"].startswith("GK")
    assert len(first["value"]) == 34
    assert secret.diff(CTX, "", first, inputs) == []
    # an earlier version had one input more: what it made stays
    assert secret.diff(CTX, "", {**first, "keepers": {}}, inputs) == []
    for changed in ({"bytes": 32}, {"prefix": ""}):
        assert [change.replace for change in secret.diff(CTX, "", first, {**inputs, **changed})] == [True]


def test_the_same_address_always_gets_the_same_hardware_address() -> None:
    assert lab.mac_of("10.91.0.11") == "02:69:0a:5b:00:0b"


def test_an_unknown_fault_is_refused_with_those_there_are(store: Podman) -> None:
    with pytest.raises(ResourceError, match="power-off, power-on, freeze, thaw, reboot"):
        lab.machine_power("m", "explode", store)


def test_a_failed_podman_command_ends_in_one_line_with_the_fix() -> None:
    said = 'level=warning msg="noise"\nError: netavark: iptables: No such file or directory'
    line = explain(("start", "m"), said)
    assert line.startswith("`podman start m` failed: netavark")
    assert line.endswith("`apt-get install iptables`")
    assert "\n" not in line


def test_a_missing_podman_is_named_with_the_fix(store: Podman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PodmanError, match="run `make up`, which installs it"):
        store("ps")


DYING = """#!/bin/sh
for last; do :; done
echo "$last" >>"$0.calls"
test "$(wc -l <"$0.calls")" -gt {tries} && exit
echo "Error: cannot remove container m as it could not be stopped: given PIDs {complaint}" >&2
echo "Error: cannot remove container n: another reason" >&2
exit 125
"""


def _stubborn(folder: Path, monkeypatch: pytest.MonkeyPatch, complaint: str) -> Path:
    """A podman whose containers take two more tries to die; the file with a line for each try."""
    program = folder / "podman"
    program.write_text(DYING.format(tries=2, complaint=complaint))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "podman.calls"


def test_containers_that_take_long_to_die_are_waited_for(
    store: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = _stubborn(tmp_path, monkeypatch, "did not die within timeout")
    store.remove("m", "n")
    assert tries.read_text().split() == ["n"] * 3


KILLED = """#!/bin/sh
echo "$1" >>"$0.calls"
test "$(wc -l <"$0.calls")" = 1 && complaint="{first}" || complaint="{second}"
echo "Error: $complaint" >&2
exit 125
"""
UNSEEN = "timed out waiting for file /run/exits/m: internal libpod error"
DEAD = "can only kill running containers. m is in state exited: container state improper"


@pytest.mark.parametrize(
    ("first", "second", "fault", "tries"),
    [(UNSEEN, DEAD, None, 2), (DEAD, DEAD, "in state exited", 1), (UNSEEN, "no such container", "no such", 2)],
)
def test_a_machine_that_is_dead_before_podman_hears_of_it_was_killed(
    store: Podman,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
    second: str,
    fault: str | None,
    tries: int,
) -> None:
    program = tmp_path / "podman"
    program.write_text(KILLED.format(first=first, second=second))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(PodmanError, match=fault) if fault else contextlib.nullcontext():
        store.kill("m")
    assert len((tmp_path / "podman.calls").read_text().splitlines()) == tries


def test_containers_that_cannot_be_removed_are_no_reason_to_wait(
    store: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = _stubborn(tmp_path, monkeypatch, "are not to be touched")
    with pytest.raises(PodmanError, match="another reason"):
        store.remove("m")
    assert tries.read_text().split() == ["m"]


def test_containers_that_never_die_are_named_with_a_hint(
    store: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = _stubborn(tmp_path, monkeypatch, "did not die within timeout")
    monkeypatch.setattr(podman, "REMOVE_S", 0)
    with pytest.raises(PodmanError, match="the host is too busy"):
        store.remove("m")
    assert tries.read_text().split() == ["m"]
