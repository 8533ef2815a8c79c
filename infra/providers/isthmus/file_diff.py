"""Shows what a task changes, from the `diff` entries that ansible modules return."""

from __future__ import annotations

import difflib
import json
from typing import Any

LONGEST = 80
"""Lines shown of one task's diff; the rest is counted."""


def render(res: dict[str, Any]) -> str:
    """The unified diff of a task's result, also of each item of a loop; empty when the module gave none."""
    lines: list[str] = []
    results = res.get("results")
    for part in results if isinstance(results, list) else [res]:
        # An item of a no_log loop has no diff, and a task with `diff: false` neither.
        if isinstance(part, dict) and part.get("changed") and "censored" not in part:
            for entry in _entries(part.get("diff")):
                lines.extend(_entry_lines(entry))
    if len(lines) > LONGEST:
        lines = [*lines[:LONGEST], f"... and {len(lines) - LONGEST} lines more"]
    return "\n".join(lines)


def _entries(diff: Any) -> list[dict[str, Any]]:
    entries = diff if isinstance(diff, list) else [diff]
    return [entry for entry in entries if isinstance(entry, dict)]


def _entry_lines(entry: dict[str, Any]) -> list[str]:
    lines = [line for line in str(entry.get("prepared") or "").splitlines() if line.strip()]
    if "before" not in entry and "after" not in entry:
        return lines
    before, after = _text(entry.get("before")), _text(entry.get("after"))
    if before == after:
        return lines
    names = (str(entry.get("before_header") or "before"), str(entry.get("after_header") or "after"))
    return lines + list(difflib.unified_diff(before, after, names[0], names[1], n=2, lineterm=""))


def _text(value: Any) -> list[str]:
    if value is None:
        return []
    text = value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True, default=str)
    return text.splitlines()
