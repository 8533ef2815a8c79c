"""Remembers which tree `make check` passed, so that `make test` need not run the same unit tests on it again."""

from __future__ import annotations

import hashlib
import subprocess

from infra.paths import ROOT, STATE

RECORD = STATE / "checked"
"""The digest of the tree that passed last."""


def remember(tree: str | None) -> None:
    """Keeps the digest of a tree that passed, or forgets all if there is none."""
    RECORD.unlink(missing_ok=True)
    if tree:
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        RECORD.write_text(tree)


def passed(tree: str | None) -> bool:
    """Whether exactly this tree passed."""
    return tree is not None and RECORD.exists() and RECORD.read_text() == tree


def tree() -> str | None:
    """A digest of every file that git tracks or would: names, modes, contents. None where git cannot tell."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    digest = hashlib.sha256()
    for name in sorted(set(done.stdout.decode().split("\0")) - {""}):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b"gone"
        mode = path.stat().st_mode if path.exists() else 0
        digest.update(f"{name}\0{mode:o}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()
