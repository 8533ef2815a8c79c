"""One way to have each kind of artefact. Each ends with a record in the store, or raises StepFailed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.mirror import crates, golang, images, rootfs, upstream, work
from ops.mirror.catalog import (
    Catalog,
    File,
    FromC,
    FromChart,
    FromCrate,
    FromDebian,
    FromImage,
    FromWorkload,
    GoProgram,
    Image,
)
from ops.mirror.plan import Planned
from ops.mirror.registry import Server, Storage, split
from ops.mirror.store import Meta, Store, digest_of, sha256, tree_digests

Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """A unit of work: several artefacts where one build makes them all."""

    name: str
    makes: tuple[Planned, ...]
    needs: frozenset[str]


def steps(planned: dict[str, Planned]) -> list[Step]:
    """What has to be done for the artefacts that are not there; programs of one Go module are one step."""
    missing = [one for one in planned.values() if one.meta is None]
    groups: dict[str, list[Planned]] = {}
    for one in missing:
        build = one.entry.build
        together = one.source == "build" and isinstance(build, GoProgram)
        groups.setdefault(f"go {build.module}" if together and isinstance(build, GoProgram) else one.name, []).append(
            one
        )
    absent = {one.name for one in missing}
    # A crate goes first: the longest build, and one that leaves cores idle in parts, for others beside it.
    ordered = sorted(groups.items(), key=lambda group: not isinstance(group[1][0].entry.build, FromCrate))
    return [
        Step(
            name,
            tuple(ones),
            frozenset(need for one in ones if one.source == "build" for need in one.entry.needs if need in absent),
        )
        for name, ones in ordered
    ]


class Maker:
    """Does steps. `have` gives the record of an artefact that is there."""

    def __init__(self, catalog: Catalog, store: Store, server: Server, have: Callable[[str], Meta]) -> None:
        self.catalog, self.store, self.server, self.have = catalog, store, server, have
        self.storage = Storage(store.registry)

    def make(self, step: Step, log: Path, say: Say) -> list[Meta]:
        """Does one step; unfinished work is removed whatever happens."""
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        work_folder = self.store.scratch()
        began = time.monotonic()
        try:
            made = self._make(step, work_folder, log, say)
            self._publish(made, say)
            seconds = round(time.monotonic() - began, 1)
            return [self.store.add(folder, _timed(meta, seconds)) for folder, meta in made]
        finally:
            shutil.rmtree(work_folder, ignore_errors=True)

    def _make(self, step: Step, folder: Path, log: Path, say: Say) -> list[tuple[Path, Meta]]:
        first = step.makes[0]
        if first.source == "build" and isinstance(first.entry.build, GoProgram):
            return self._go(step.makes, folder, log, say)
        out = folder / first.name
        out.mkdir()
        if first.source == "upstream":
            return [(out, self._copy(first, out, log, say))]
        return [(out, self._build(first, out, log, say))]

    def _copy(self, one: Planned, out: Path, log: Path, say: Say) -> Meta:
        match one.entry.upstream:
            case Image(image=image) as source:
                say(f"copying {image}")
                digest = upstream.copy_image(source, self.server.address, log)
                return self._image_meta(one, digest, f"copied: {image}")
            case File(url=url) as source:
                say(f"downloading {url.rsplit('/', 1)[-1]}")
                program, checked = upstream.fetch_file(one.name, source, out, log)
                return _file_meta(one, out, program, f"downloaded: {url} (sha256 {checked[:12]})")
        raise AssertionError(one.name)

    def _go(self, ones: Sequence[Planned], folder: Path, log: Path, say: Say) -> list[tuple[Path, Meta]]:
        builds = [one.entry.build for one in ones if isinstance(one.entry.build, GoProgram)]
        name = builds[0].module
        module = self.catalog.modules[name]
        say(f"compiling {', '.join(one.name for one in ones)}")
        programs = golang.build(name, module, builds, folder / "programs", log)
        made = []
        for one, build in zip(ones, builds, strict=True):
            out = folder / one.name
            out.mkdir()
            program = out / one.name
            programs[build.package].rename(program)
            for extra in build.extras:
                target = out / Path(extra).name
                golang.copy_tree(golang.source(name, module, log) / extra, target)
                target.chmod(0o755)
            made.append((out, _file_meta(one, out, program, f"built: Go module {module.path} {module.version}")))
        return made

    def _build(self, one: Planned, out: Path, log: Path, say: Say) -> Meta:
        build = one.entry.build
        match build:
            case FromC():
                say(f"compiling {build.source}")
                module = self.catalog.modules[build.module]
                source = golang.source(build.module, module, log) / build.source
                defines = [f"-D{key}={value}" for key, value in build.defines.items()]
                program = out / one.name.removesuffix("-binary")
                work.run(["gcc", "-Os", "-Wall", "-static", "-s", *defines, "-o", program, source], log=log)
                return _file_meta(one, out, program, f"built: {build.source} of {module.path} {module.version}")
            case FromCrate():
                say(f"compiling crate {build.crate} {one.version}")
                program = crates.build(build, one.version, out, log)
                return _file_meta(one, out, program, f"built: crate {build.crate} {one.version}")
            case FromDebian():
                say(f"unpacking Debian {build.suite} packages")
                tar = rootfs.build(build, out, log)
                return _file_meta(one, out, tar, f"built: Debian {build.suite} packages")
            case FromChart():
                module = self.catalog.modules[build.module]
                chart = out / Path(build.path).name
                golang.copy_tree(golang.source(build.module, module, log) / build.path, chart)
                files = tree_digests(out)
                size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
                source_text = f"taken: {build.path} of {module.path} {module.version}"
                return _meta(one, digest=digest_of(files), size=size, main=chart.name, files=files, source=source_text)
            case FromImage() | FromWorkload():
                return self._image(one, build, out, log, say)
        raise AssertionError(one.name)

    def _image(self, one: Planned, build: FromImage | FromWorkload, out: Path, log: Path, say: Say) -> Meta:
        context = out.parent / "context"
        context.mkdir()
        if build.base:
            say(f"preparing the base {build.base}")
            self._base(build.base, log)
        say("gathering what goes in")
        if isinstance(build, FromImage):
            inputs = {name: self._main(name) for name in build.inputs}
            images.stage(build, inputs, self.catalog.modules, context, log)
        else:
            images.stage_workload(build, self.catalog.modules, context, log)
        say("building and pushing")
        arguments = build.arguments if isinstance(build, FromImage) else {}
        assert one.ref
        digest = images.build(context, one.ref, self.server.address, log, arguments)
        return self._image_meta(one, digest, f"built: {build.folder}/Containerfile")

    def _base(self, name: str, log: Path) -> None:
        images.base(name, self.have(name).key, self._main(name), log)

    def _main(self, name: str) -> Path:
        meta = self.have(name)
        assert meta.main
        return self.store.folder(name, meta.key) / meta.main

    def _image_meta(self, one: Planned, digest: str, source: str) -> Meta:
        return _meta(one, digest=digest, size=self.storage.size(digest), ref=one.ref, source=source)

    def _publish(self, made: Sequence[tuple[Path, Meta]], say: Say) -> None:
        for folder, meta in made:
            if self.catalog.artifacts[meta.name].served and meta.main:
                say(f"storing {meta.name} in the registry")
                self.server.put_file(meta.name, meta.version, folder / meta.main)

    def republish(self, meta: Meta) -> None:
        """Puts an artefact's name in the registry right again, from what the store or the registry holds."""
        if meta.kind == "image":
            assert meta.ref
            repository, tag = split(meta.ref)
            self.server.retag(repository, tag, meta.digest)
        elif meta.main:
            self.server.put_file(meta.name, meta.version, self.store.folder(meta.name, meta.key) / meta.main)


def _meta(
    one: Planned,
    *,
    digest: str,
    size: int,
    source: str,
    main: str | None = None,
    ref: str | None = None,
    files: dict[str, str] | None = None,
) -> Meta:
    return Meta(
        name=one.name,
        key=one.key,
        kind=one.entry.kind,
        version=one.version,
        source=source,
        digest=digest if digest.startswith("sha256:") else f"sha256:{digest}",
        size=size,
        main=main,
        ref=ref,
        files=files or {},
    )


def _file_meta(one: Planned, out: Path, program: Path, source: str) -> Meta:
    size = program.stat().st_size
    main = str(program.relative_to(out))
    return _meta(one, digest=sha256(program), size=size, main=main, files=tree_digests(out), source=source)


def _timed(meta: Meta, seconds: float) -> Meta:
    return Meta(**{**meta.__dict__, "seconds": seconds})
