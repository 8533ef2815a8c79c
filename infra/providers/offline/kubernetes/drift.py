"""What a live object says about the inputs that made it: the same inputs, with what others changed since.

Only what the program set is looked at; defaults that the server added are not drift, nor is another spelling of the
same quantity (the server turns 1000m into 1), nor a dropped empty value.
"""

from __future__ import annotations

import base64
import binascii
import re
from fractions import Fraction
from typing import Any

_SERVER_KEYS = frozenset({"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"})
_SUFFIXES = {"": Fraction(1), "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000)}
_SUFFIXES |= {letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", start=1)}
_SUFFIXES |= {f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)}
_TEXT_KEYS = frozenset(
    {
        *("annotations", "args", "binaryData", "command", "data", "env", "labels", "matchLabels", "nodeSelector"),
        *("parameters", "stringData"),
    }
)
"""Below these keys, text is text: "1.0" there is not the quantity 1."""
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE]?)")


def live_inputs(inputs: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """The inputs as the live object has them now; an import has none, so gets all but the server's part."""
    if not inputs:
        metadata = {key: value for key, value in live["metadata"].items() if key not in _SERVER_KEYS}
        return {**{key: value for key, value in live.items() if key != "status"}, "metadata": metadata}
    found = _prune(inputs, live)
    if inputs.get("stringData"):
        found["stringData"] = _string_data(inputs["stringData"], live.get("data") or {})
    return found


def _string_data(wanted: dict[str, str], data: dict[str, str]) -> dict[str, str]:
    """Secrets take text as stringData, but only ever show it as base64 in data."""
    found = {}
    for key in wanted.keys() & data.keys():
        try:
            found[key] = base64.b64decode(data[key], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            found[key] = data[key]
    return found


def _prune(wanted: Any, live: Any, *, text: bool = False) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict):
        found = {}
        for key, value in wanted.items():
            if key in live:
                found[key] = _prune(value, live[key], text=text or key in _TEXT_KEYS)
            elif _empty(value):
                found[key] = value
        return found
    if isinstance(wanted, list) and isinstance(live, list):
        return _prune_list(wanted, live, text=text)
    return wanted if wanted == live or (not text and _same_quantity(wanted, live)) else live


def _prune_list(wanted: list[Any], live: list[Any], *, text: bool) -> list[Any]:
    """By name where the items have unique ones, else by position; what others added stays and so shows as drift."""
    names = _names(wanted), _names(live)
    if names[0] is not None and names[1] is not None:
        by_name = dict(zip(names[0], wanted, strict=True))
        pairs = zip(names[1], live, strict=True)
        return [_prune(by_name[name], item, text=text) if name in by_name else item for name, item in pairs]
    return [_prune(wanted[at], item, text=text) if at < len(wanted) else item for at, item in enumerate(live)]


def _names(items: list[Any]) -> list[str] | None:
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    known = [name for name in names if isinstance(name, str)]
    return known if items and len(set(known)) == len(items) else None


def _empty(value: Any) -> bool:
    """Whether the server may leave it out: null, nothing, zero, or a mapping of such."""
    if isinstance(value, dict):
        return all(_empty(item) for item in value.values())
    return value in (None, "", 0, False) or value == []


def _same_quantity(wanted: Any, live: Any) -> bool:
    number = _quantity(wanted)
    return number is not None and number == _quantity(live)


def _quantity(value: Any) -> Fraction | None:
    """A Kubernetes quantity as a number. "7" and 7 are the same one; true is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    return Fraction(match[1]) * _SUFFIXES[match[2]] if match[2] in _SUFFIXES else Fraction(match[0])
