"""Kubernetes resource quantities ("250m", "1Gi") as exact numbers, so that they can be compared."""

from __future__ import annotations

import re
from fractions import Fraction

_SUFFIX: dict[str, Fraction] = {"": Fraction(1), "m": Fraction(1, 1000)}
_SUFFIX |= {letter: Fraction(1000**power) for power, letter in enumerate("kMGTP", start=1)}
_SUFFIX |= {f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTP", start=1)}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(" + "|".join(sorted(_SUFFIX, key=len, reverse=True)) + ")")


def parse(text: str) -> Fraction:
    """The quantity in its base unit (cores or bytes); raises ValueError with the fix."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write cores like 500m or 2, bytes like 512Mi or 4Gi")
    value = Fraction(match[1]) * _SUFFIX[match[2]]
    if value <= 0:
        raise ValueError(f"{text!r} is nothing; give more than 0")
    return value


def text(value: float) -> str:
    """A number as Kubernetes itself writes it, to the thousandth: 50, 2500m, 1k."""
    thousandths = round(value * 1000)
    for suffix, size in (("M", 1000**3), ("k", 1000**2), ("", 1000)):
        if thousandths % size == 0:
            return f"{thousandths // size}{suffix}"
    return f"{thousandths}m"
