"""Fills the mirror: makes what is missing, side by side, and writes the index that infra reads."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from infra.paths import INDEX
from ops.console import Failure, say
from ops.mirror import catalog as catalogs
from ops.mirror import upstream
from ops.mirror.catalog import FromUpstream, Image
from ops.mirror.plan import Planned, Planner, Source
from ops.mirror.registry import Server, Storage, split
from ops.mirror.report import Report
from ops.mirror.steps import Maker, Step, steps
from ops.mirror.store import Meta, Store
from ops.mirror.work import StepFailed


def sync(
    names: Iterable[str] | None = None,
    *,
    also: Iterable[str] = (),
    source: Source = "auto",
    jobs: int | None = None,
    store: Store | None = None,
    index: Path = INDEX,
    preview: bool = False,
) -> dict[str, Meta]:
    """Makes what is missing of the named artefacts, writes the index, returns the records.

    By default those that every environment has, with `also` what this one asks for, and what was asked for before.
    Safe to interrupt: what is finished stays, the rest is absent. Failure names the artefact, the log and the fix.
    `preview`: what is never built, and whose publisher is out of reach, is no failure: the index says so.
    """
    store = store or Store()
    catalog = catalogs.load()
    # The registry's program comes along: what is served is pushed with it.
    wanted = [*names, "registry"] if names is not None else [*catalog.usual, *_asked_for(catalog, also, index)]
    reach = upstream.Reach()
    planned = Planner(catalog, store, source, reach).plan(wanted)
    absent = _out_of_reach(planned, {*(names or ()), *also}, reach, preview=preview)
    wanted = [name for name in wanted if name not in absent]
    planned = {name: one for name, one in planned.items() if name not in absent}
    if any(one.meta is None for one in planned.values()) or _unpublished(planned.values(), store):
        with store.lock(lambda: say("    another sync is at work in this cache: waiting for its end")):
            store.sweep()
            # What the other sync made is there now.
            planned = Planner(catalog, store, source, reach).plan(wanted)
            _fill(catalog, store, planned, jobs or max(2, (os.cpu_count() or 2) // 2))
            planned = Planner(catalog, store, source, upstream.nowhere).plan(wanted)
    records = {name: one.meta for name, one in planned.items() if one.meta}
    _write_index(store, records, index, [one for one in absent.values() if one.name in also], keep=names is not None)
    return records


def _out_of_reach(
    planned: dict[str, Planned], asked: Collection[str], reach: upstream.Reach, *, preview: bool
) -> dict[str, Planned]:
    """What is not here, is never built, and cannot be copied from here; Failure if it is `asked` for, but by a preview.

    What only an earlier environment asked for is given up: this one does not need it.
    """
    absent = {}
    for name, one in planned.items():
        match one.entry.build, one.entry.upstream:
            case FromUpstream(why=why, otherwise=otherwise), Image(image=image) as place if one.meta is None:
                if reach(place):
                    continue
                fault = f"{name} is copied from its publisher, and {image} is out of reach from here (not built: {why})"
                fix = f"let this machine reach {image.partition('/')[0]}, or else {otherwise}"
                if name in asked and not preview:
                    raise Failure(fault, fix=fix)
                if name in asked:
                    say(f"NOTE: {fault}. It is previewed with zeros for its digest. Before `make up`: {fix}")
                absent[name] = one
    return absent


def _asked_for(catalog: catalogs.Catalog, also: Iterable[str], index: Path) -> list[str]:
    """Artefacts on request: an environment that asked for them earlier still needs their lines in the index."""
    try:
        held = json.loads(index.read_text())["artifacts"]
    except (OSError, ValueError, KeyError):
        # Missing or damaged: it is about to be written anew.
        held = {}
    asked = {*also, *held} - {*catalog.usual}
    return [name for name in catalog.artifacts if name in asked]


def _unpublished(planned: Iterable[Planned], store: Store) -> list[Meta]:
    """Artefacts whose name in the registry does not point to them (another checkout's has it, or it was lost)."""
    storage = Storage(store.registry)
    found = []
    for one in planned:
        if one.meta is None:
            continue
        if one.meta.kind == "image" and one.meta.ref:
            repository, tag = split(one.meta.ref)
            if not storage.holds(repository, tag, one.meta.digest):
                found.append(one.meta)
        elif one.entry.served and not storage.holds_file(one.meta.digest, one.meta.size):
            found.append(one.meta)
    return found


def _fill(catalog: catalogs.Catalog, store: Store, planned: dict[str, Planned], jobs: int) -> None:
    records = {name: one.meta for name, one in planned.items() if one.meta}
    todo = steps(planned)
    unpublished = _unpublished(planned.values(), store)
    server = Server(lambda: _path(store, records["registry"]), store.registry, store.logs / "registry.log")
    maker = Maker(catalog, store, server, lambda name: records[name])
    if todo and "registry" not in records:
        # Everything that is pushed waits for it.
        todo = [Step(s.name, s.makes, s.needs | _waits_for_registry(s)) for s in todo]
    with server.running(), Report(len(todo)) as report:
        for meta in unpublished:
            try:
                maker.republish(meta)
            except StepFailed as failure:
                raise Failure(
                    f"{meta.name}: {failure}", fix=f"remove {store.folder(meta.name, meta.key)} and run it again"
                ) from None
        _run_all(todo, records, maker, store, report, jobs)


def _waits_for_registry(step: Step) -> frozenset[str]:
    pushed = any(one.entry.kind == "image" or one.entry.served for one in step.makes)
    return frozenset({"registry"} if pushed else ())


def _run_all(todo: list[Step], records: dict[str, Meta], maker: Maker, store: Store, report: Report, jobs: int) -> None:
    """Runs steps as soon as their needs are there; after a failure nothing new begins, what runs is finished."""
    waiting = list(todo)
    running: dict[Future[list[Meta]], Step] = {}
    failures: list[tuple[Step, BaseException]] = []
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        while waiting or running:
            for step in [step for step in waiting if not failures and step.needs <= records.keys()][
                : jobs - len(running)
            ]:
                waiting.remove(step)
                running[pool.submit(_run, step, maker, store, report)] = step
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                step = running.pop(future)
                if error := future.exception():
                    failures.append((step, error))
                else:
                    records.update({meta.name: meta for meta in future.result()})
    if failures:
        raise _failure(failures, store)


def _run(step: Step, maker: Maker, store: Store, report: Report) -> list[Meta]:
    report.start(step.name, "begins")
    try:
        made = maker.make(step, _log(store, step), lambda text: report.step(step.name, text))
    except BaseException:
        report.end(step.name, "FAILED")
        raise
    report.end(step.name, "done")
    return made


def _log(store: Store, step: Step) -> Path:
    return store.logs / f"{step.name.replace(' ', '-')}.log"


def _failure(failures: list[tuple[Step, BaseException]], store: Store) -> BaseException:
    step, error = failures[0]
    if not isinstance(error, (StepFailed, OSError)):
        return error
    names = ", ".join(one.name for one in step.makes)
    others = "".join(f"; also {other.name}: {fault}" for other, fault in failures[1:])
    fix = error.fix if isinstance(error, StepFailed) else "mend the cause, run it again: it continues from here"
    return Failure(f"the mirror lacks {names}: {error}{others}", log=_log(store, step), fix=fix)


def _path(store: Store, meta: Meta) -> Path:
    return store.folder(meta.name, meta.key) / (meta.main or "")


def _write_index(store: Store, records: dict[str, Meta], index: Path, absent: Iterable[Planned], *, keep: bool) -> None:
    """Writes the index at once and whole; a sync of some names keeps the others' lines."""
    old = {}
    if keep and index.exists():
        old = json.loads(index.read_text())["artifacts"]
    lines = {
        name: {
            "kind": meta.kind,
            "version": meta.version,
            "digest": meta.digest,
            "size": meta.size,
            **({"ref": meta.ref} if meta.ref else {}),
            **({"path": str(_path(store, meta))} if meta.main else {}),
        }
        for name, meta in records.items()
    }
    content = {"artifacts": {**old, **lines}}
    if shown := {one.name: _unseen(one) for one in absent}:
        content["absent"] = shown
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    if not index.exists() or index.read_text() != text:
        index.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own: another sync may be writing the same.
        with tempfile.NamedTemporaryFile("w", dir=index.parent, prefix=f"{index.name}.", delete=False) as unfinished:
            unfinished.write(text)
        Path(unfinished.name).chmod(0o644)
        Path(unfinished.name).rename(index)


def _unseen(one: Planned) -> dict[str, Any]:
    """The line of an image that nobody here has seen."""
    return {"kind": one.entry.kind, "version": one.version, "digest": f"sha256:{'0' * 64}", "size": 0, "ref": one.ref}
