"""Where things lie: the checkout, its generated state, and the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isthmus"
"""What is the same for every checkout: built tools, image layers, the mirror's content."""

STATE = ROOT / ".state"
"""What this checkout generates; git-ignored."""

BIN = STATE / "bin"
"""The tools of this checkout, as links into the cache."""

INDEX = STATE / "mirror" / "index.json"
"""What the mirror holds for this checkout's catalog."""


def state(environment: str) -> Path:
    """The folder of what this checkout generates for one environment."""
    return STATE / environment
