"""The API server's refusals, in words that name the object, the reason and what to do."""

from __future__ import annotations

import json
from typing import Any

TAKEN = ("provided IP is already allocated", "provided port is already allocated")
"""How an API server refuses a Service whose clusterIP or nodePort is another's."""


class ApiError(Exception):
    """The API server refused. `status` is HTTP's."""

    def __init__(self, message: str, *, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    @property
    def transient(self) -> bool:
        """Whether the same request may well succeed in a moment: overload, a leader's election, a webhook's start.

        So does a Service's chosen address or port that is taken: by the same Service, where an earlier request for it
        was cut off half-way. The API servers free such an address a minute later, such a port when they are done.
        """
        return self.status in (429, 500, 502, 503, 504) or (
            self.status == 422 and any(taken in str(self) for taken in TAKEN)
        )


class Unreachable(Exception):
    """No API server answered."""


class Cancelled(Exception):
    """The user interrupted the engine."""


def of_response(status: int, body: str | bytes | None, *, doing: str) -> ApiError:
    """The error of a response; `doing` is like "apply apps/v1/Deployment workloads/inference"."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    reason = answer.get("reason") or ""
    causes = (answer.get("details") or {}).get("causes") or []
    if status == 409 and any(cause.get("reason") == "FieldManagerConflict" for cause in causes):
        return ApiError(f"{doing}: {_conflict(causes)}", status=status, reason=reason)
    message = answer.get("message") or text.strip()[:500] or f"HTTP status {status}"
    return ApiError(f"{doing}: {message}", status=status, reason=reason)


def _conflict(causes: list[dict[str, Any]]) -> str:
    """Who holds which fields; the API server says it as `conflict with "kubectl" using apps/v1`, once a field."""
    held: dict[str, list[str]] = {}
    for cause in causes:
        message = cause.get("message") or ""
        owner = message.split('"')[1] if message.count('"') >= 2 else message
        held.setdefault(owner, []).append(str(cause.get("field", "")).removeprefix("."))
    owners = "; ".join(f'"{owner}" owns {", ".join(sorted(fields))}' for owner, fields in sorted(held.items()))
    return (
        f"fields are owned by another field manager: {owners}. Leave these fields out of the program, or take them "
        'over with the annotation pulumi.com/patchForce: "true"'
    )
