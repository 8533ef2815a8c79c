"""Planning and filling, on a store of its own, with a stand-in for mmdebstrap: no network, no real build."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.artifacts import ArtifactError, Index
from ops.console import Failure
from ops.mirror import sync as filling
from ops.mirror import upstream
from ops.mirror.catalog import Catalog, Entry
from ops.mirror.plan import Planner
from ops.mirror.registry import Storage
from ops.mirror.store import Store
from ops.mirror.verify import damage, verify

MMDEBSTRAP = """#!/bin/sh
# The tar's place is the second last word before the sources.
for word; do case $word in *rootfs.tar) tar=$word;; esac; done
echo "$*" >> "$LAB/calls"
case $tar in *second*) [ ! -e "$LAB/broken" ] || { echo "E: Unable to locate package nonsense"; exit 100; };; esac
echo content > "$tar"
"""


class Lab:
    """A catalog of two root filesystems, its store and its index."""

    def __init__(self, root: Path) -> None:
        self.root, self.store, self.index = root, Store(root / "mirror"), root / "index.json"
        for name in ("first", "second"):
            (root / name).mkdir()
            (root / name / "packages.txt").write_text("bash\n")
        self.catalog = Catalog(modules={}, artifacts={name: self.entry(name) for name in ("first", "second")})

    def entry(self, name: str) -> Entry:
        return Entry.model_validate(
            {
                "kind": "rootfs",
                "version": "bookworm",
                "licence": "MIT",
                "upstream": {"none": "assembled here"},
                "build": {"from": "debian", "suite": "bookworm", "folder": str(self.root / name)},
                "used_by": ["tests"],
            }
        )

    def sync(self, also: Sequence[str] = (), *, preview: bool = False) -> None:
        filling.sync(store=self.store, index=self.index, jobs=1, also=also, preview=preview)

    def calls(self) -> int:
        path = self.root / "calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def key(self, name: str) -> str:
        return Planner(self.catalog, self.store, "auto", upstream.nowhere).planned(name).key


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text(MMDEBSTRAP)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LAB", str(tmp_path))
    made = Lab(tmp_path)
    monkeypatch.setattr(filling.catalogs, "load", lambda: made.catalog)
    yield made


def test_the_first_sync_makes_everything_and_writes_the_index(lab: Lab) -> None:
    lab.sync()
    artifact = Index.load(lab.index).artifact("first")
    assert artifact.kind == "rootfs"
    assert artifact.local.read_text() == "content\n"
    assert artifact.size == 8


def test_a_second_sync_makes_nothing(lab: Lab) -> None:
    lab.sync()
    made, written = lab.calls(), lab.index.stat().st_mtime_ns
    lab.sync()
    assert (lab.calls(), lab.index.stat().st_mtime_ns) == (made, written)


def test_what_is_on_request_is_made_when_it_is_asked_for_and_kept_from_then_on(lab: Lab) -> None:
    asked = lab.catalog.artifacts["second"].model_copy(update={"on_request": True})
    lab.catalog = Catalog(modules={}, artifacts={**lab.catalog.artifacts, "second": asked})
    lab.sync()
    assert lab.calls() == 1
    assert set(Index.load(lab.index).artifacts) == {"first"}
    assert verify(store=lab.store) == 0, "what nobody asked for is not missing"
    lab.sync(also=["second"])
    lab.sync()
    assert lab.calls() == 2
    assert set(Index.load(lab.index).artifacts) == {"first", "second"}, "another environment still needs its line"


COPIED: dict[str, Any] = {
    "kind": "image",
    "version": "1.2.3",
    "licence": "MIT",
    "ref": "docker.io/some/thing:1.2.3",
    "upstream": {"image": "docker.io/some/thing:1.2.3", "digest": "resolve"},
    "build": {"from": "upstream", "why": "nobody could", "otherwise": "take its key out of the file"},
    "used_by": ["tests"],
    "on_request": True,
}
"""An entry that is copied and never built."""


@pytest.fixture
def far(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """With such an entry, and its publisher out of reach."""
    lab.catalog = Catalog(modules={}, artifacts={**lab.catalog.artifacts, "far": Entry.model_validate(COPIED)})
    monkeypatch.setattr(upstream.Reach, "_ask", lambda *_: False)
    return lab


def test_what_is_never_built_and_out_of_reach_is_refused_before_anything_is_made(far: Lab) -> None:
    with pytest.raises(Failure) as caught:
        far.sync(also=["far"])
    said = str(caught.value)
    for words in (
        "far is copied",
        "docker.io/some/thing:1.2.3",
        "nobody could",
        "Fix: let this machine reach docker.io",
    ):
        assert words in said
    assert said.endswith("or else take its key out of the file")
    assert far.calls() == 0


def test_a_site_that_does_not_ask_for_it_needs_no_publisher(far: Lab) -> None:
    far.sync()
    assert set(Index.load(far.index).artifacts) == {"first", "second"}


def test_a_preview_shows_what_it_could_not_have_and_nobody_takes_it_for_had(
    far: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    far.sync(also=["far"], preview=True)
    assert "NOTE: far is copied" in capsys.readouterr().out
    index = Index.load(far.index)
    with pytest.raises(ArtifactError, match="does not hold 'far'"):
        index.artifact("far")
    shown = index.for_preview()
    assert (shown.artifact("far").image, shown.artifact("far").digest) == (COPIED["ref"], f"sha256:{'0' * 64}")
    assert shown.artifact("first") == index.artifact("first")
    far.sync()
    assert Index.load(far.index).for_preview() == Index.load(far.index), "the next environment did not ask for it"


def test_what_an_earlier_environment_had_is_given_up_when_its_next_version_is_out_of_reach(far: Lab) -> None:
    far.sync()
    index = json.loads(far.index.read_text())
    index["artifacts"]["far"] = {**index["artifacts"]["first"], "kind": "image", "ref": "docker.io/some/thing:1.2.2"}
    far.index.write_text(json.dumps(index))
    far.sync()
    assert set(Index.load(far.index).artifacts) == {"first", "second"}
    with pytest.raises(Failure, match="out of reach"):
        far.sync(also=["far"])


def test_what_is_within_reach_is_copied(far: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream.Reach, "_ask", lambda *_: True)
    planned = Planner(far.catalog, far.store, "auto", upstream.Reach()).plan(["far"])
    assert filling._out_of_reach(planned, {"far"}, upstream.Reach(), preview=False) == {}
    assert planned["far"].source == "upstream"


def test_a_damaged_index_is_written_anew(lab: Lab) -> None:
    lab.sync()
    lab.index.write_text("{")
    lab.sync()
    assert set(Index.load(lab.index).artifacts) == {"first", "second"}


def test_only_what_changed_is_made_again(lab: Lab) -> None:
    lab.sync()
    (lab.root / "second" / "packages.txt").write_text("bash\ncurl\n")
    lab.sync()
    assert lab.calls() == 3
    assert "curl" in (lab.root / "calls").read_text().splitlines()[-1]


def test_a_key_follows_content_and_mode_and_nothing_else(lab: Lab) -> None:
    before, path = lab.key("first"), lab.root / "first" / "packages.txt"
    os.utime(path, (1, 1))
    (lab.root / "first" / "__pycache__").mkdir()
    (lab.root / "first" / "__pycache__" / "x.pyc").write_text("x")
    assert lab.key("first") == before, "times and bytecode are no inputs"
    path.chmod(0o755)
    assert lab.key("first") != before, "an executable file is another input"
    assert lab.key("second") != before, "the name is part of the key"


def test_what_was_finished_before_a_failure_is_kept_and_the_next_sync_continues(lab: Lab) -> None:
    (lab.root / "broken").touch()
    with pytest.raises(Failure) as caught:
        lab.sync()
    said = str(caught.value)
    assert "second" in said
    assert "Unable to locate package nonsense" in said, "the line that tells why"
    assert "second.log" in said
    assert "Fix:" in said
    assert not lab.index.exists(), "an index never promises what is not there"
    (lab.root / "broken").unlink()
    lab.sync()
    assert lab.calls() == 3, "first was made once, second twice"


def test_unfinished_work_of_a_killed_sync_is_swept_and_never_taken_for_an_artefact(lab: Lab) -> None:
    left = lab.store.scratch() / "first"
    left.mkdir()
    (left / "rootfs.tar").write_text("half")
    lab.store.folder("first", lab.key("first")).mkdir(parents=True)  # a folder without its record
    lab.sync()
    assert Index.load(lab.index).artifact("first").local.read_text() == "content\n"
    assert not (lab.store.root / "tmp").exists() or not list((lab.store.root / "tmp").rglob("rootfs.tar"))


def test_two_syncs_at_once_make_everything_once(lab: Lab) -> None:
    faults: list[BaseException] = []

    def one() -> None:
        try:
            lab.sync()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert lab.calls() == 2


def test_an_index_that_several_write_at_once_is_whole_and_nothing_is_left_beside_it(lab: Lab) -> None:
    lab.sync()
    meta = lab.store.find("first", lab.key("first"))
    assert meta

    def write(number: int) -> None:
        filling._write_index(lab.store, {"first": replace(meta, version=f"v{number}")}, lab.index, [], keep=False)

    beside = {*lab.index.parent.iterdir()}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(200)))
    assert Index.load(lab.index).artifact("first").version.startswith("v")
    assert {*lab.index.parent.iterdir()} == beside


def test_verify_finds_damage(lab: Lab) -> None:
    lab.sync()
    artifact = Index.load(lab.index).artifact("first")
    meta = lab.store.find("first", lab.key("first"))
    assert meta
    assert damage(meta, lab.store, Storage(lab.store.registry), served=False) == []
    artifact.local.write_text("other")
    assert "is damaged" in damage(meta, lab.store, Storage(lab.store.registry), served=False)[0]
    artifact.local.unlink()
    assert "is missing" in damage(meta, lab.store, Storage(lab.store.registry), served=False)[0]


def test_an_unknown_name_is_refused_with_the_known_ones(lab: Lab) -> None:
    with pytest.raises(Failure, match=r"holds no third.*first, second"):
        Planner(lab.catalog, lab.store, "auto", upstream.nowhere).plan(["third"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "has not been filled yet"),
        ("{", "is damaged"),
        ('{"artifacts": {"a": {"kind": "file"}}}', "is damaged"),
        ('{"artifacts": {}}', "does not hold 'kubeadm'"),
    ],
)
def test_index_errors_end_with_the_fix(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "index.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ArtifactError) as caught:
        Index.load(path).artifact("kubeadm")
    assert words in str(caught.value)
    assert "make mirror ARGS=sync" in str(caught.value)


def test_an_image_has_no_path_and_a_file_no_reference() -> None:
    digest = "sha256:" + "0" * 64
    text = {"a": {"kind": "image", "version": "1", "digest": digest, "size": 1, "ref": "x.y/z:1"}}
    artifact = Index.model_validate(json.loads(json.dumps({"artifacts": text}))).artifact("a")
    assert artifact.image == "x.y/z:1"
    with pytest.raises(ArtifactError, match="no local path"):
        _ = artifact.local
