"""What the kinds of EC2 have in common: how they are described, tagged and found gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from infra.providers.offline.aws.kind import (
    Client,
    Delete,
    Kind,
    Properties,
    Settle,
    Update,
    listed,
    mapped,
    unchangeable,
)


def specified(kind: str, inputs: Properties) -> list[dict[str, Any]]:
    tags = listed(inputs.get("tagsAll"))
    return [{"ResourceType": kind, "Tags": tags}] if tags else []


def tag(aws: Client, rid: str, tags: Mapping[str, str], removed: list[str]) -> None:
    if tags:
        aws.create_tags(Resources=[rid], Tags=listed(tags))
    if removed:
        aws.delete_tags(Resources=[rid], Tags=[{"Key": key} for key in removed])


def ec2_kind(
    name: str,
    create: Callable[[Client, Properties], str],
    read: Callable[[Client, str], tuple[Any, Callable[[Any], Properties]]],
    delete: Delete,
    gone: str,
    *,
    update: Update = unchangeable,
    settle: Settle | None = None,
    replace: tuple[str, ...] = (),
    named: str | None = None,
    secrets: tuple[str, ...] = (),
) -> Kind:
    """`read` gives what a describe call found, and how to say it; `gone` is the error of an id that is not there."""

    def look(aws: Client, rid: str, _state: Properties) -> Properties | None:
        found, said = read(aws, rid)
        if not found:
            return None
        return {**said(found[0]), "tagsAll": mapped(found[0].get("Tags"))}

    return Kind(
        token=f"aws:ec2/{name[0].lower()}{name[1:]}:{name}",
        service="ec2",
        create=create,
        read=look,
        update=update,
        delete=delete,
        settle=settle,
        replace=frozenset(replace),
        name=named,
        secrets=frozenset(secrets),
        gone=frozenset({gone}),
        tags=tag,
    )


def alive(found: list[Any], *dead: str) -> list[Any]:
    """AWS remembers some things for an hour after their end."""
    return [one for one in found if one.get("State") not in dead]
