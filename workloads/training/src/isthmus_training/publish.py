"""Step 5, first half: put a model under its version. Doing it again changes nothing."""

from __future__ import annotations

from isthmus_training.errors import StoreFailure
from isthmus_training.manifest import Model
from isthmus_training.store import Store


def folder(name: str, version: str) -> str:
    """Where a version's two files are."""
    return f"models/{name}/versions/{version}"


def publish(store: Store, name: str, model: Model) -> str:
    """Writes what is not there yet and returns what was done, for the log.

    The version is derived from the content, so what must be there is known: an object that differs was damaged, and is
    mended. The manifest goes last, so a version with a manifest is whole.
    """
    done = []
    for file, content in (("model.onnx", model.onnx), ("manifest.json", model.manifest)):
        key = f"{folder(name, model.version)}/{file}"
        present = store.get(key)
        if present == content:
            done.append(f"{file} kept")
            continue
        store.put(key, content)
        if store.get(key) != content:
            raise StoreFailure(f"{key} reads back changed. Fix: check the store's disks")
        done.append(f"{file} written" if present is None else f"{file} was damaged, written anew")
    return ", ".join(done)
