"""Where made artefacts are kept: one folder for each name and key, complete or absent, shared by all checkouts.

<cache>/mirror/artifacts/<name>/<key>/     meta.json and the files
<cache>/mirror/registry/                   the registry's storage: images, and the files that nodes fetch
<cache>/mirror/logs/<step>.log             what the last build of that step said
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from infra.paths import CACHE


def sha256(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def tree_digests(folder: Path) -> dict[str, str]:
    """Every file below a folder with its sha256 (links by their target), sorted by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = hashlib.sha256(str(path.readlink()).encode()).hexdigest()
        elif path.is_file():
            found[name] = sha256(path)
    return found


def digest_of(value: object) -> str:
    """A sha256 in hex of plain values, the same for equal values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What is recorded of a made artefact. `main` is the file or folder that it is, relative to its folder."""

    name: str
    key: str
    kind: str
    version: str
    source: str
    digest: str
    size: int
    main: str | None = None
    ref: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    made: str = ""


class Store:
    """The folders above."""

    def __init__(self, root: Path = CACHE / "mirror") -> None:
        self.root = root
        self.artifacts = root / "artifacts"
        self.registry = root / "registry"
        self.logs = root / "logs"

    def folder(self, name: str, key: str) -> Path:
        return self.artifacts / name / key

    def find(self, name: str, key: str) -> Meta | None:
        """The record of an artefact that is there, or None."""
        try:
            return Meta(**json.loads((self.folder(name, key) / "meta.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def scratch(self) -> Path:
        """A folder for unfinished work, on the same filesystem, so that finishing is one rename."""
        parent = self.root / "tmp"
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=parent))

    def add(self, work: Path, meta: Meta) -> Meta:
        """Makes a finished folder an artefact, at once and whole; one that is there already is replaced."""
        meta = Meta(**{**asdict(meta), "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        (work / "meta.json").write_text(json.dumps(asdict(meta), indent=1, sort_keys=True) + "\n")
        work.chmod(0o755)
        target = self.folder(meta.name, meta.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(self.scratch() / "replaced")
        work.rename(target)
        return meta

    def sweep(self) -> None:
        """Removes what interrupted runs left. Only the holder of the lock may call it."""
        shutil.rmtree(self.root / "tmp", ignore_errors=True)

    @contextlib.contextmanager
    def lock(self, waiting: Callable[[], None]) -> Iterator[None]:
        """One writer at a time among all checkouts; the kernel frees it when its holder ends, however it ends."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
