"""Keeps secret values out of everything that people see: the engine's log, errors, diffs and the run's journal.

Roles mark secret tasks with `no_log`; this filter is the second line, for the values that are known to be secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MASK = "[secret]"

_SECRET_NAME = re.compile(r"secret|token|passw|passphrase|credential|kubeconfig|private|(^|_)keys?$", re.IGNORECASE)
_PUBLIC_NAME = re.compile(r"(^|_)(host|public|authorized)_keys?$|_path$", re.IGNORECASE)

_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{16,}")

_SHORTEST = 6
"""Shorter values are words such as "admin": hiding each of them would make the text unreadable and protect nothing."""


def is_secret_name(name: str) -> bool:
    """Whether a variable of that name is taken to hold a secret."""
    return bool(_SECRET_NAME.search(name)) and not _PUBLIC_NAME.search(name)


def secret_values(variables: Mapping[str, Any]) -> set[str]:
    """The texts in `variables` that must not be shown: all those below a key with a secret's name."""
    found: set[str] = set()
    for name, value in variables.items():
        if is_secret_name(str(name)):
            found.update(_texts(value))
        elif isinstance(value, dict):
            found.update(secret_values(value))
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    found.update(secret_values(item))
    return found


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


@dataclass(frozen=True)
class Redactor:
    """Replaces secret values in texts, also where they were escaped as JSON or split into lines."""

    pattern: re.Pattern[str] | None

    @classmethod
    def of(cls, values: Iterable[str]) -> Redactor:
        """A filter for these values."""
        parts: set[str] = set()
        for value in values:
            # Of a whole file, such as a kubeconfig, only keys and tokens are hidden: its other lines are plain words.
            tokens = [word for word in value.split() if _TOKEN.fullmatch(word)] if "\n" in value.strip() else []
            for part in (value.strip(), json.dumps(value.strip())[1:-1], *tokens):
                if len(part) >= _SHORTEST:
                    parts.add(part)
        if not parts:
            return cls(None)
        # The longest first, so that no tail of a secret stays behind where another is its beginning.
        return cls(re.compile("|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))))

    def __call__(self, text: str) -> str:
        """The text without the values."""
        return self.pattern.sub(MASK, text) if self.pattern else text
