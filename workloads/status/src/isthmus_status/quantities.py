"""Quantities as Kubernetes writes them, and as people read them."""

from __future__ import annotations

import re
from typing import Any

UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}


def parse(text: Any) -> float:
    """The number that a quantity stands for: cores of 250m, bytes of 512Mi; ValueError for what is none."""
    found = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)", str(text))
    if not found or found[2] not in UNITS:
        raise ValueError(f"{str(text)[:40]!r} is not a quantity")
    return float(found[1]) * UNITS[found[2]]


def cores(amount: float) -> str:
    """Cores: 0.25, 12."""
    return f"{amount:.2f}".rstrip("0").rstrip(".") or "0"


def gib(amount: float) -> str:
    """Bytes in GiB."""
    return f"{amount / 2**30:.1f}"


def span(seconds: float) -> str:
    """A time that has passed: 12 s, 5 min, 3 h, 2 d."""
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds // size))} {unit}"
    return f"{int(seconds // 86400)} d"
