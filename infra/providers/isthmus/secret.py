"""RandomSecret: made once, kept encrypted in the engine's state, made anew when an input changes."""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

from infra.providers.isthmus.handler import UNKNOWN, Change, Context, input_changes


class RandomSecret:
    """Inputs: bytes (1-1024), prefix (text before the hex digits)."""

    token: ClassVar[str] = "isthmus:secret:RandomSecret"
    outputs: ClassVar[tuple[str, ...]] = ("value",)
    secrets: ClassVar[frozenset[str]] = frozenset({"value"})

    def check(self, news: dict[str, Any]) -> dict[str, str]:
        """Refuse lengths that are no secret or no length."""
        length = news.get("bytes")
        if length is not UNKNOWN and (
            not isinstance(length, int) or isinstance(length, bool) or not 1 <= length <= 1024
        ):
            return {"bytes": f"is {length!r}; it must be a whole number of bytes from 1 to 1024"}
        return {}

    def diff(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> list[Change]:  # noqa: ARG002
        """Every input is part of the value."""
        return input_changes(olds, news, replace=frozenset(news))

    def create(self, ctx: Context, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        """The id is random as well: it must not tell anything about the value."""
        value = news.get("prefix", "") + secrets.token_hex(news["bytes"])
        return secrets.token_hex(8), {**news, "value": value}

    def read(self, ctx: Context, rid: str, state: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """It lives in the engine's state only, so it is always as recorded."""
        return state

    def update(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Nothing changes without a replacement."""
        return {**news, "value": olds["value"]}

    def delete(self, ctx: Context, rid: str, state: dict[str, Any]) -> None:
        """Gone with the state."""
