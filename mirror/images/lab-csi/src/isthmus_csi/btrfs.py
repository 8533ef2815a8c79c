"""What the pool's file system is told, through its own programs: subvolumes, snapshots of them, and their quotas."""

from __future__ import annotations

import logging
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger("isthmus.csi")

PATIENCE_S = 60
"""Each is done in a fraction of a second; a command that hangs must not keep the lock for ever."""


class Failed(Exception):
    """A program ended badly; the message is what it said."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Bytes that a subvolume refers to, and its quota (None: it has none)."""

    used: int
    limit: int | None


def run(*command: str | Path) -> str:
    """The program's output. Raises Failed."""
    words = [str(word) for word in command]
    environ = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=environ, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{' '.join(words)}` did not end within {PATIENCE_S} s") from None
    if done.returncode:
        raise Failed(f"`{' '.join(words)}`: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def make_file_system(image: Path) -> None:
    """An empty file system in a file."""
    # Quiet, and without discarding first what a new sparse file does not hold.
    run("mkfs.btrfs", "--quiet", "--nodiscard", "--label", "isthmus", image)


def enable_quota(mount: Path) -> None:
    """From here on each subvolume's bytes are counted."""
    run("btrfs", "quota", "enable", mount)


def create(path: Path) -> None:
    """An empty subvolume."""
    run("btrfs", "subvolume", "create", path)


def snapshot(source: Path, target: Path, *, read_only: bool = False) -> None:
    """All of a subvolume at one moment, what programs have written and not yet synced included; it shares the space."""
    run("btrfs", "subvolume", "snapshot", *(["-r"] if read_only else []), source, target)


def delete(path: Path) -> None:
    """Remove a subvolume and, when the kernel has cleaned up, its quota."""
    run("btrfs", "subvolume", "delete", path)


def limit(path: Path, size: int) -> None:
    """Let a subvolume refer to so many bytes: a write beyond them fails."""
    run("btrfs", "qgroup", "limit", str(size), path)


def usage(path: Path) -> Usage:
    """What a subvolume refers to."""
    # -f: this subvolume's group alone. Columns: group, referenced, exclusive, limit of referenced, of exclusive, path.
    lines = run("btrfs", "qgroup", "show", "--raw", "-r", "-e", "-f", path).splitlines()
    for line in lines:
        words = line.split()
        if len(words) >= 4 and words[0].startswith("0/"):
            return Usage(used=int(words[1]), limit=None if words[3] == "none" else int(words[3]))
    raise Failed(f"{path} is not counted: {lines}")
