"""What the lab costs when nobody uses it: memory and processor time of all its machines, from their cgroups."""

from __future__ import annotations

import time
from pathlib import Path

from ops import machines

SECONDS = 60.0
_ROOT = Path("/sys/fs/cgroup")


def measure(environment: str) -> dict[str, float]:
    """Memory (anonymous, GiB) and cores (seconds of processor time a second) of the lab over a minute."""
    groups = [machines.cgroup(name) for name in machines.statuses(environment)]
    before, start = sum(map(_processor_seconds, groups)), time.monotonic()
    time.sleep(SECONDS)
    cores = (sum(map(_processor_seconds, groups)) - before) / (time.monotonic() - start)
    return {"cores": cores, "memory, GiB": sum(map(_memory_bytes, groups)) / 2**30}


def _processor_seconds(group: str) -> float:
    """Processor time that the group and those below it have used."""
    version1 = _ROOT / "cpuacct" / group.lstrip("/") / "cpuacct.usage"
    if version1.exists():
        return int(version1.read_text()) / 1e9
    return _stat(_ROOT / group.lstrip("/") / "cpu.stat", "usage_usec") / 1e6


def _memory_bytes(group: str) -> int:
    """Anonymous memory of the group and those below it; page cache is not counted."""
    version1 = _ROOT / "memory" / group.lstrip("/") / "memory.stat"
    if version1.exists():
        return _stat(version1, "total_rss")
    return _stat(_ROOT / group.lstrip("/") / "memory.stat", "anon")


def _stat(path: Path, key: str) -> int:
    return next(int(value) for name, value in map(str.split, path.read_text().splitlines()) if name == key)
