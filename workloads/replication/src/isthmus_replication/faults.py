"""What keeps the destination from holding the champion: `reason` is for the metrics, the message for people."""

from __future__ import annotations

SIDES = ("source", "destination")


class Fault(Exception):
    """One look at the stores that failed."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unavailable(Fault):
    """A store did not answer, refused, or has no such bucket. It is asked again at the next poll."""


class Refused(Fault):
    """Content that breaks what its alias or manifest promises. It is looked at again after a minute."""

    def __init__(self, message: str, reason: str = "refused") -> None:
        super().__init__(reason, message)


REASONS = (
    *(f"{side}_{what}" for side in SIDES for what in ("unreachable", "denied", "no_bucket")),
    "refused",
    "unverified",
    "scratch",
    "error",
)
"""Every reason there is, so that each series begins at 0."""
