"""Holds everything in the mirror to the sums that were recorded when it was made."""

from __future__ import annotations

from collections.abc import Iterable

from ops.console import Failure, say
from ops.mirror import catalog as catalogs
from ops.mirror import upstream
from ops.mirror.plan import Planner
from ops.mirror.registry import Storage, split
from ops.mirror.store import Meta, Store, tree_digests


def verify(names: Iterable[str] | None = None, store: Store | None = None) -> int:
    """Re-hashes every file, and every part of every image in the registry; Failure lists what is damaged or missing."""
    store = store or Store()
    catalog = catalogs.load()
    planned = Planner(catalog, store, "auto", upstream.nowhere).plan(names)
    storage = Storage(store.registry)
    faults = []
    for name, one in planned.items():
        if one.meta is None and names is None and one.entry.on_request:
            continue
        if one.meta is None:
            faults.append(f"{name}: not in the mirror yet")
            continue
        found = damage(one.meta, store, storage, served=one.entry.served)
        say(f"    {name:<32} {one.meta.digest[7:19]}  {'damaged' if found else 'whole'}")
        faults += [f"{name}: {fault}" for fault in found]
    if faults:
        fix = "`make mirror ARGS=sync` makes what is missing; remove the folder of what is damaged first"
        raise Failure("the mirror is not whole:\n  " + "\n  ".join(faults) + "\n", fix=fix)
    say(f"    {len(planned)} artefacts are whole")
    return 0


def damage(meta: Meta, store: Store, storage: Storage, *, served: bool) -> list[str]:
    """What of one artefact is not as recorded."""
    faults = []
    folder = store.folder(meta.name, meta.key)
    if meta.kind == "image" and meta.ref:
        repository, tag = split(meta.ref)
        if storage.tagged(repository, tag) != meta.digest:
            faults.append(f"{meta.ref} does not point to {meta.digest[:19]} in the registry")
        faults += storage.damage(meta.digest)
    else:
        found = {name: value for name, value in tree_digests(folder).items() if name != "meta.json"}
        faults += [f"{folder / path} is missing" for path in meta.files.keys() - found.keys()]
        faults += [
            f"{folder / path} is damaged" for path, value in meta.files.items() if found.get(path, value) != value
        ]
        if served:
            faults += storage.damage(meta.digest) if storage.blob(meta.digest).exists() else ["not in the registry"]
    return faults
