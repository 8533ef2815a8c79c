"""Copies the newest backup of each host. The host has sealed it: neither the stores can read it, nor can this."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import Gauge

from isthmus_replication.contract import DIGEST, File
from isthmus_replication.faults import Fault, Refused
from isthmus_replication.look import Looker
from isthmus_replication.settings import Settings
from isthmus_replication.store import Missing, Store
from isthmus_replication.transfer import changed, copy

TAKEN = Gauge(
    "isthmus_backup_copy_timestamp_seconds",
    "When the host took the newest of its backups that the destination holds, in Unix time; 0 for none.",
    ["host"],
)


@dataclass(frozen=True, kw_only=True)
class Backup:
    """One object, as the host that wrote it described it (ansible/roles/etcd_backup)."""

    key: str
    file: File
    taken: int
    """Unix time."""

    @property
    def attributes(self) -> dict[str, str]:
        """What goes with the object, as S3 metadata of these names."""
        return {"sha256": self.file.digest.removeprefix("sha256:"), "taken": str(self.taken)}


class Backups(Looker):
    """Keeps the destination's backups at the source's; a bucket with versions keeps the earlier ones."""

    fine = ("copied", "unchanged")

    def __init__(self, settings: Settings, alive: Callable[[], None]) -> None:
        super().__init__(settings, alive)
        for host in settings.backups_of:
            TAKEN.labels(host).set(0)

    async def follow(self) -> tuple[str, str]:
        """One look at each host's; one that fails keeps no other from being copied."""
        said, faults = [], []
        for host in self.settings.backups_of:
            try:
                said.append(await self.one(host))
            except Fault as fault:
                faults.append(fault)
        if faults:
            raise faults[0]
        news = [text for text in said if text]
        return ("copied", "; ".join(news)) if news else ("unchanged", "both stores answer, and have the same backups")

    async def one(self, host: str) -> str:
        """Copies a host's backup unless it is there; what was copied, or nothing."""
        key = f"etcd/{host}.cms"
        present = await described(self.destination, key)
        if present:
            TAKEN.labels(host).set(present.taken)
        wanted = await described(self.source, key)
        if wanted is None or wanted == present:
            return ""
        await copy(self.source, self.destination, self.scratch, key, wanted.file, wanted.attributes)
        if await described(self.destination, key) != wanted:
            raise changed(self.destination, key)
        self.scratch.drop()
        TAKEN.labels(host).set(wanted.taken)
        when = datetime.fromtimestamp(wanted.taken, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"{host}'s backup of {when}, {wanted.file.size} bytes"


async def described(store: Store, key: str) -> Backup | None:
    """The backup that is there; Refused when nobody said what it is."""
    try:
        meta, attributes = await store.about(key)
    except Missing:
        return None
    digest, taken = f"sha256:{attributes.get('sha256')}", attributes.get("taken", "")
    if not (re.match(DIGEST, digest) and re.fullmatch(r"\d{1,12}", taken) and meta["size"]):
        raise Refused(
            f"{key} in {store.where} does not say what it is: it must have bytes, and metadata sha256 and taken"
        )
    return Backup(key=key, file=File(digest=digest, size=meta["size"]), taken=int(taken))
