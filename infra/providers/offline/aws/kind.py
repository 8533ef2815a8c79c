"""What a resource type is to the stand-in: which calls of AWS's API make, read, change and delete it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Properties = dict[str, Any]
"""Inputs, or inputs and outputs, of a resource, named as pulumi-aws names them."""

Client = Any
"""boto3's client of the kind's service."""

UNEXERCISED: Final = "__notExercised"
"""Marks, in the state, a thing that only the engine knows, because the lab's API lacks the calls."""

Create = Callable[[Client, Properties], str]
Read = Callable[[Client, str, Properties], Properties | None]
Update = Callable[[Client, str, Properties, Properties], object]
Delete = Callable[[Client, str, Properties], object]
Settle = Callable[[Client, str, Properties], object]


class NotActive(Exception):
    """Something was made and did not become usable; the message says what and why."""


def unchangeable(_aws: Client, rid: str, _olds: Properties, _news: Properties) -> None:
    """For kinds whose inputs all lead to a replacement."""
    raise AssertionError(f"{rid} has nothing that could be changed in place")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One type.

    `create` is the call that makes it, and gives the id: what else is to be done belongs to `settle`, so that a thing
    which AWS has made is never lost from the state. `read` gives what AWS knows now, None when it is gone, and raises
    what boto3 raises for that; what it leaves out is taken to be as it was. `update` makes changed inputs true, save
    those named in `replace`. `delete` is called again when it was cut off. Tags are in `inputs["tagsAll"]`, the
    provider's own included.
    """

    token: str
    service: str
    create: Create
    read: Read
    delete: Delete
    update: Update = unchangeable
    replace: frozenset[str] = frozenset()
    name: str | None = None
    """The input that is named after the resource, with seven hex digits, when the program leaves it out."""
    secrets: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    """Error codes that say that the thing is not there."""
    tags: Callable[[Client, str, Mapping[str, str], list[str]], object] | None = None
    """Sets tags and removes others by their keys, where that is a call of its own."""
    documents: frozenset[str] = frozenset()
    """Inputs that are JSON: AWS may give them back in another order, which is no change."""
    settle: Settle | None = None
    """Does what takes calls of its own after `create`, and waits until the thing can be used. Each update calls it too,
    so that one that was cut off is finished: what AWS does not take twice it asks for first. Raises NotActive.
    """
    exercised: bool = True
    """False where the lab's API is known to lack the calls. It is asked all the same, and the answer decides."""


def listed(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    """Tags as most services want them."""
    return [{"Key": key, "Value": value} for key, value in sorted((tags or {}).items())]


def mapped(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """Tags as pulumi-aws has them."""
    return {tag["Key"]: tag["Value"] for tag in tags or []}


def given(**arguments: Any) -> dict[str, Any]:
    """The arguments that have a value: boto3 refuses None."""
    return {key: value for key, value in arguments.items() if value is not None}
