"""The lab's volumes by name: what is promised, what is refused, what an interrupted request leaves. Without root."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import grpc
import pytest

from infra.paths import ROOT

sys.path.insert(0, str(ROOT / "mirror" / "images" / "lab-csi" / "src"))

from isthmus_csi import btrfs, catalogue
from isthmus_csi.catalogue import Catalogue, Range
from isthmus_csi.faults import Refusal
from isthmus_csi.pool import Pool

MIB = 1024**2
CODE = grpc.StatusCode


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Folders where the kernel would have subvolumes; gives the quotas that were set."""
    found: dict[str, int] = {}
    monkeypatch.setattr(btrfs, "create", Path.mkdir)
    monkeypatch.setattr(btrfs, "snapshot", lambda source, target, **_: shutil.copytree(source, target))
    monkeypatch.setattr(btrfs, "delete", shutil.rmtree)
    monkeypatch.setattr(btrfs, "limit", lambda path, size: found.__setitem__(path.name, size))
    return found


@pytest.fixture
def volumes(tmp_path: Path, limits: dict[str, int]) -> Catalogue:  # noqa: ARG001
    pool = Pool(folder=tmp_path, mount=tmp_path / "pool", capacity=100 * MIB)
    for folder in (pool.volumes, pool.snapshots, pool.records):
        folder.mkdir(parents=True)
    return Catalogue(pool)


def code(caught: pytest.ExceptionInfo[Refusal]) -> grpc.StatusCode:
    return caught.value.code


def test_the_same_request_gives_the_same_volume_and_its_quota(volumes: Catalogue, limits: dict[str, int]) -> None:
    first = volumes.create_volume("data", Range(required=10 * MIB))
    assert volumes.create_volume("data", Range(required=10 * MIB)) == first
    assert volumes.volumes() == [first]
    assert limits == {first.id: 10 * MIB}


@pytest.mark.parametrize("wanted", [Range(required=11 * MIB), Range(limit=9 * MIB)])
def test_a_name_that_is_taken_by_another_size_is_refused(volumes: Catalogue, wanted: Range) -> None:
    volumes.create_volume("data", Range(required=10 * MIB))
    with pytest.raises(Refusal) as caught:
        volumes.create_volume("data", wanted)
    assert code(caught) == CODE.ALREADY_EXISTS


def test_what_is_promised_never_exceeds_the_pool(volumes: Catalogue) -> None:
    first = volumes.create_volume("one", Range(required=40 * MIB))
    volumes.create_snapshot("copy", first.id)
    assert volumes.free() == 10 * MIB, "a tenth stays free, and a snapshot counts as much as its volume"
    for wanted in (
        lambda: volumes.create_volume("two", Range(required=11 * MIB)),
        lambda: volumes.create_snapshot("more", first.id),
        lambda: volumes.expand(first.id, Range(required=51 * MIB)),
    ):
        with pytest.raises(Refusal) as caught:
            wanted()
        assert code(caught) == CODE.RESOURCE_EXHAUSTED
    assert volumes.expand(first.id, Range(required=50 * MIB)).size == 50 * MIB


def test_a_volume_never_shrinks(volumes: Catalogue, limits: dict[str, int]) -> None:
    made = volumes.create_volume("data", Range(required=10 * MIB))
    assert volumes.expand(made.id, Range(required=5 * MIB)) == made
    assert limits[made.id] == 10 * MIB


def test_a_limit_below_what_is_needed_is_out_of_range(volumes: Catalogue) -> None:
    with pytest.raises(Refusal) as caught:
        volumes.create_volume("data", Range(required=20 * MIB, limit=10 * MIB))
    assert code(caught) == CODE.OUT_OF_RANGE
    assert volumes.create_volume("small", Range(limit=10 * MIB)).size == 10 * MIB


def test_a_copy_holds_at_least_what_its_source_does(volumes: Catalogue) -> None:
    source = volumes.create_volume("data", Range(required=10 * MIB))
    (volumes.folder(source) / "written").write_text("before")
    snapshot = volumes.create_snapshot("then", source.id)
    (volumes.folder(source) / "written").write_text("after")
    with pytest.raises(Refusal) as caught:
        volumes.create_volume("less", Range(required=9 * MIB), snapshot.id)
    assert code(caught) == CODE.OUT_OF_RANGE
    copy = volumes.create_volume("same", Range(), snapshot.id)
    assert (copy.size, copy.source) == (source.size, snapshot.id)
    assert (volumes.folder(copy) / "written").read_text() == "before"


def test_a_snapshot_outlives_its_volume(volumes: Catalogue) -> None:
    source = volumes.create_volume("data", Range(required=10 * MIB))
    snapshot = volumes.create_snapshot("then", source.id)
    volumes.delete(source.id)
    assert volumes.snapshots() == [snapshot]
    assert volumes.create_volume("again", Range(), snapshot.id).size == 10 * MIB


@pytest.mark.parametrize("rid", ["vol-0", "snap-0", "../../etc/passwd", "", "vol-../x"])
def test_what_is_not_there_is_not_found_and_its_deletion_is_done(volumes: Catalogue, rid: str) -> None:
    with pytest.raises(Refusal) as caught:
        volumes.volume(rid)
    assert code(caught) == CODE.NOT_FOUND
    volumes.delete(rid)


def test_what_an_interrupted_request_left_is_not_taken_for_a_volume(
    volumes: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise btrfs.Failed("power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(btrfs, "limit", cut)
        with pytest.raises(btrfs.Failed):
            volumes.create_volume("data", Range(required=10 * MIB))
    assert volumes.volumes() == []
    (left,) = volumes.pool.volumes.iterdir()
    (left / "of the first try").touch()
    made = volumes.create_volume("data", Range(required=10 * MIB))
    assert list(volumes.folder(made).iterdir()) == []


def test_a_deletion_that_was_interrupted_is_finished_by_the_next(
    volumes: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = volumes.create_volume("data", Range(required=10 * MIB))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError("power is gone")))
        with pytest.raises(OSError, match="power"):
            volumes.delete(made.id)
    volumes.delete(made.id)
    assert volumes.volumes() == []
    assert volumes.free() == int(100 * MIB * (1 - catalogue.RESERVED))
