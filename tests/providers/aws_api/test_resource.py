"""The resource AwsApi: what it refuses, what needs a replacement, and its container, which faults are done to."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.artifacts import ArtifactError, Index
from infra.paths import CACHE
from infra.providers.isthmus import lab
from infra.providers.isthmus.aws_api import AwsApi
from infra.providers.isthmus.handler import UNKNOWN, Context, PartialFailure, ResourceError
from infra.providers.isthmus.log import EngineLog
from infra.providers.isthmus.network import Network
from infra.providers.isthmus.podman import Podman
from tests.providers.aws_api.account import ACCOUNT, make, seen

CTX = Context(urn="", preview=False, log=EngineLog())

API = {
    "name": "aws-test",
    "network": "aws-test",
    "address": "10.91.2.3",
    "registry": "http://10.91.2.2:5000",
    "image": "registry.isthmus.internal/aws-api:0",
    "image_digest": "sha256:0",
    "account_id": ACCOUNT,
    "data": "/srv/aws",
    "checkout": "/c",
    "environment": "test",
}


@pytest.fixture
def store_of_one_test(tmp_path: Path) -> Podman:
    return Podman(root=tmp_path / "root", run=tmp_path / "run")


@pytest.mark.parametrize(
    ("changed", "key"),
    [({"address": "10.91.2.300"}, "address"), ({"account_id": "12"}, "account_id"), ({"data": "srv"}, "data")],
)
def test_the_resource_refuses_what_would_fail_half_way(
    store_of_one_test: Podman, changed: dict[str, Any], key: str
) -> None:
    handler = AwsApi(store_of_one_test)
    assert handler.check(API) == {}
    assert handler.check(dict.fromkeys(API, UNKNOWN)) == {}
    assert list(handler.check({**API, **changed})) == [key]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("account_id", [("account_id", True)]),
        ("data", [("data", True)]),
        ("address", [("address", False)]),
        ("image_digest", [("image_digest", False)]),
        ("network", [("network", False)]),
    ],
)
def test_only_another_account_is_another_resource(
    store_of_one_test: Podman, key: str, expected: list[tuple[str, bool]]
) -> None:
    changes = AwsApi(store_of_one_test).diff(CTX, "aws-test", API, {**API, key: "other"})
    assert [(change.path, change.replace) for change in changes] == expected


@dataclass(frozen=True)
class Container:
    """The API on a network of its own, in a store of its own."""

    podman: Podman
    network: dict[str, Any]
    api: dict[str, Any]

    @property
    def handler(self) -> AwsApi:
        return AwsApi(self.podman)

    def inputs(self, **changed: Any) -> dict[str, Any]:
        return {key: value for key, value in self.api.items() if key not in AwsApi.outputs} | changed

    def status(self) -> str:
        return lab.status_of(self.podman.inspect("aws-test"))


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    try:
        index = Index.load()
        registry, machine, api = (index.artifact(name) for name in ("registry", "machine", "aws-api"))
    except ArtifactError as error:
        pytest.fail(f"this test runs the image aws-api out of the mirror: {error}")
    # Not pytest's tmp_path: podman's sockets need short paths, and its storage must not outlive a failed test.
    folder = Path(tempfile.mkdtemp(prefix="isthmus-aws-"))
    podman = Podman(root=folder / "podman", run=folder / "run")
    owner = {"checkout": str(folder), "environment": "test"}
    network = {
        **owner,
        "name": "aws-test",
        "cidr": "10.91.2.0/24",
        "gateway": "10.91.2.1",
        "mirror_address": "10.91.2.2",
        "registry_binary": str(registry.local),
        "registry_storage": str(CACHE / "mirror" / "registry"),
        "kind": "site",
        "image": str(machine.local),
        "image_digest": machine.digest,
    }
    try:
        _, made = Network(podman).create(CTX, network)
        inputs = {
            **API,
            **owner,
            "registry": made["mirror_url"],
            "image": api.image,
            "image_digest": api.digest,
            "data": str(folder / "data"),
        }
        _, state = AwsApi(podman).create(CTX, inputs)
        yield Container(podman=podman, network=network, api=state)
    finally:
        lab.remove_lab(podman=podman)
        podman("rmi", "--all", "--force")
        shutil.rmtree(folder, ignore_errors=True)


def eventually(what: Callable[[], bool], patience_s: float = 30) -> bool:
    deadline = time.monotonic() + patience_s
    while not (held := what()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return held


@pytest.mark.machine
def test_the_container_may_do_nothing_but_serve(container: Container) -> None:
    assert (container.api["endpoint"], container.api["status"]) == ("http://10.91.2.3:5000", "running")
    running = container.podman.inspect("aws-test")
    assert running is not None
    assert running["HostConfig"]["ReadonlyRootfs"]
    assert running["Config"]["User"] == "65532:65532"
    assert not running["EffectiveCaps"]
    assert lab.labs(container.podman)[0].machines == {}, "it is no machine: nobody can log in to it"


@pytest.mark.machine
def test_a_power_cut_is_seen_and_healed_and_everything_is_the_same(container: Container) -> None:
    make(container.api["endpoint"])
    before = seen(container.api["endpoint"])
    container.podman("kill", "--signal", "KILL", "aws-test")
    assert eventually(lambda: container.status() == "stopped")
    state = container.handler.read(CTX, "aws-test", container.api)
    assert state is not None
    assert state["status"] == "stopped"
    # Without a refresh too: the last known state says that it runs.
    changes = container.handler.diff(CTX, "aws-test", container.api, container.inputs())
    assert [change.path for change in changes] == ["status"]
    assert container.handler.update(CTX, "aws-test", state, container.inputs()) == container.api
    assert seen(container.api["endpoint"]) == before
    assert container.handler.diff(CTX, "aws-test", container.api, container.inputs()) == []


@pytest.mark.machine
@pytest.mark.parametrize("fault", ["pause", "rm"])
def test_other_faults_are_healed_too(container: Container, fault: str) -> None:
    before = seen(container.api["endpoint"])
    container.podman(fault, *(("--force", "--time", "0") if fault == "rm" else ()), "aws-test")
    changes = container.handler.diff(CTX, "aws-test", container.api, container.inputs())
    assert [change.path for change in changes] == ["status"]
    assert container.handler.update(CTX, "aws-test", container.api, container.inputs()) == container.api
    assert seen(container.api["endpoint"]) == before


@pytest.mark.machine
def test_another_address_takes_over_what_is_there(container: Container) -> None:
    before = seen(container.api["endpoint"])
    moved = container.handler.update(CTX, "aws-test", container.api, container.inputs(address="10.91.2.4"))
    assert moved["endpoint"] == "http://10.91.2.4:5000"
    assert seen(moved["endpoint"]) == before
    container.handler.update(CTX, "aws-test", moved, container.inputs())


@pytest.mark.machine
def test_a_journal_that_cannot_be_read_ends_in_its_own_words(container: Container) -> None:
    container.podman("kill", "--signal", "KILL", "aws-test")
    journal = Path(container.api["data"], "journal.jsonl")
    good = journal.read_bytes()
    journal.write_bytes(good.replace(b"CreateVpc", b"DeleteVpc", 1))
    with pytest.raises(PartialFailure, match=r"ended before it answered.*damaged in line 1"):
        container.handler.update(CTX, "aws-test", container.api, container.inputs())
    assert eventually(lambda: container.status() == "stopped", 60), "and it is not tried for ever"
    journal.write_bytes(good)
    container.handler.update(CTX, "aws-test", container.api, container.inputs())


@pytest.mark.machine
def test_the_name_of_another_lab_is_refused(container: Container) -> None:
    with pytest.raises(ResourceError, match="another lab"):
        container.handler.create(CTX, container.inputs(checkout="/elsewhere"))


@pytest.mark.machine
def test_deleting_it_removes_the_container_and_its_data(container: Container) -> None:
    for _ in range(2):
        container.handler.delete(CTX, "aws-test", container.api)
    assert container.podman.inspect("aws-test") is None
    assert not Path(container.api["data"]).exists()
    assert container.status() == "missing"
