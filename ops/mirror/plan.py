"""What each artefact is made from, as one key: equal inputs give an equal key, so only what changed is made again."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.paths import ROOT
from ops.console import Failure
from ops.mirror import golang, toolchains
from ops.mirror.catalog import (
    Catalog,
    Entry,
    File,
    FromC,
    FromCgo,
    FromChart,
    FromCrate,
    FromDebian,
    FromGo,
    FromImage,
    FromUpstream,
    FromWorkload,
    Image,
    Nothing,
)
from ops.mirror.store import Meta, Store, digest_of

Source = Literal["auto", "build", "upstream"]
FORMAT = 1
"""Raise it when the way things are made changes although no input does."""

NOT_IN_WORKLOADS = ("tests", "README.md", "__pycache__", ".*")
"""What a workload's folder holds beside what its image is made from."""

IN_ALL_WORKLOADS = ("workloads/slim.py",)
"""What the image of each workload is made from beside its folder."""

COMPRESSION = "zstd"
"""Of our images' layers. Every host unpacks every image: gzip would cost its processors three times as much."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One artefact: how it will be had, its key, and its record if it is there already."""

    name: str
    entry: Entry
    source: Literal["build", "upstream"]
    key: str
    meta: Meta | None

    @property
    def ref(self) -> str | None:
        """The canonical image name; our own images are tagged by their content."""
        if self.entry.ref is None or ":" in self.entry.ref:
            return self.entry.ref
        return f"{self.entry.ref}:{self.version}"

    @property
    def version(self) -> str:
        if self.entry.version == "content":
            return self.key[:12]
        if self.source == "upstream" and isinstance(self.entry.upstream, File) and self.entry.upstream.version:
            return self.entry.upstream.version
        return self.entry.version


class Planner:
    """Computes keys; reads files of the checkout and asks the compilers for their versions, nothing else."""

    def __init__(
        self, catalog: Catalog, store: Store, source: Source, online: Callable[[File | Image], bool], root: Path = ROOT
    ) -> None:
        self.catalog, self.store, self.source, self.root = catalog, store, source, root
        self.online = online
        self._planned: dict[str, Planned] = {}

    def plan(self, names: Iterable[str] | None = None) -> dict[str, Planned]:
        """The named artefacts (all by default) and what their builds take in, each after its needs."""
        wanted = list(names if names is not None else self.catalog.artifacts)
        unknown = [name for name in wanted if name not in self.catalog.artifacts]
        if unknown:
            known = ", ".join(sorted(self.catalog.artifacts))
            raise Failure(f"the catalog holds no {', '.join(unknown)}", fix=f"choose among: {known}")
        ordered: dict[str, Planned] = {}
        for name in wanted:
            self._collect(name, ordered)
        return ordered

    def _collect(self, name: str, ordered: dict[str, Planned]) -> None:
        if name in ordered:
            return
        planned = self.planned(name)
        # What is there, or is copied, needs no inputs.
        if planned.meta is None and planned.source == "build":
            for need in planned.entry.needs:
                self._collect(need, ordered)
        ordered[name] = planned

    def planned(self, name: str) -> Planned:
        """The plan of one artefact."""
        if name not in self._planned:
            self._planned[name] = self._choose(name, self.catalog.artifacts[name])
        return self._planned[name]

    def _choose(self, name: str, entry: Entry) -> Planned:
        keys: list[tuple[Literal["build", "upstream"], str]] = []
        copied_only = isinstance(entry.build, FromUpstream)
        if (self.source != "build" or copied_only) and not isinstance(entry.upstream, Nothing):
            keys.append(("upstream", digest_of([FORMAT, "upstream", entry.upstream.model_dump()])[:20]))
        if not copied_only and (self.source != "upstream" or not keys):
            keys.append(("build", self._build_key(name, entry)))
        for source, key in keys:
            if meta := self.store.find(name, key):
                return Planned(name=name, entry=entry, source=source, key=key, meta=meta)
        # Nothing there: the network is asked only now.
        upstream = entry.upstream
        copied = len(keys) == 1 or (not isinstance(upstream, Nothing) and self.online(upstream))
        source, key = keys[0] if copied else keys[-1]
        return Planned(name=name, entry=entry, source=source, key=key, meta=None)

    def _build_key(self, name: str, entry: Entry) -> str:
        inputs: list[object] = [FORMAT, name, entry.version, entry.build.model_dump(), entry.ref]
        inputs += [self._module(module) for module in entry.modules]
        inputs += [[need, self.planned(need).key] for need in entry.needs]
        match entry.build:
            case FromGo():
                inputs += [toolchains.go_version()[0], golang.FLAGS]
            case FromCgo():
                inputs += [toolchains.go_version()[0], golang.FLAGS, toolchains.cc_version()]
            case FromC():
                inputs.append(toolchains.cc_version())
            case FromCrate(rust=rust):
                inputs.append(toolchains.rust_version(rust)[0])
            case FromDebian(folder=folder):
                inputs.append(self._files(folder))
            case FromImage(folder=folder):
                inputs += [self._files(folder), COMPRESSION]
            case FromWorkload(folder=folder):
                inputs += [self._files(folder, without=NOT_IN_WORKLOADS), COMPRESSION]
                inputs += [hashlib.sha256((self.root / shared).read_bytes()).hexdigest() for shared in IN_ALL_WORKLOADS]
            case FromChart():
                pass
        return digest_of(inputs)[:20]

    def _module(self, name: str) -> list[object]:
        module = self.catalog.modules[name]
        return [
            module.model_dump(exclude={"pins"}),
            self._files(f"mirror/go/{module.pins or name}", only=("go.mod", "go.sum", "main.go")),
        ]

    def _files(self, folder: str, *, only: tuple[str, ...] = ("*",), without: tuple[str, ...] = ()) -> dict[str, str]:
        """Content and executable bit of the files below a folder of the checkout."""
        start = self.root / folder
        if not start.is_dir():
            raise Failure(f"{folder} is missing, but an artefact is made from it", fix="restore it from git")
        found = {}
        for path in sorted(start.rglob("*")):
            relative = path.relative_to(start)
            names = {*relative.parts}
            unwanted = any(fnmatch.fnmatch(name, pattern) for name in names for pattern in (*without, "__pycache__"))
            if path.is_file() and not unwanted and any(fnmatch.fnmatch(str(relative), pattern) for pattern in only):
                mode = "x" if path.stat().st_mode & 0o100 else "-"
                found[str(relative)] = mode + hashlib.sha256(path.read_bytes()).hexdigest()
        return found
