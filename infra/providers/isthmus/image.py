"""Image: an image of the mirror in a registry that a site's nodes pull from, under its digest."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from infra.providers.isthmus import ecr, oci
from infra.providers.isthmus.handler import UNKNOWN, Change, Context, ResourceError, input_changes


class Image:
    """Inputs: repository (its URL, as the registry has it), reference (what pods ask for, with a tag), digest, storage
    (the mirror's folder). It is there once the registry holds the manifest of that digest and all that it names.

    Its end leaves the image where it is: a pod of before may still need it, and the repository has its own rules.
    """

    token: ClassVar[str] = "isthmus:registry:Image"
    outputs: ClassVar[tuple[str, ...]] = ()
    secrets: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, login: Callable[[str], oci.Login] = ecr.login) -> None:
        self._login = login

    def check(self, news: dict[str, Any]) -> dict[str, str]:
        """Refuse what pods could not pull, or what would not be the reviewed image."""
        reasons = {}
        digest, repository, reference = (news.get(key) for key in ("digest", "repository", "reference"))
        if digest is not UNKNOWN and not re.fullmatch(r"sha256:[0-9a-f]{64}", str(digest)):
            reasons["digest"] = f"is {digest!r}; it must be sha256: and 64 hex digits"
        if reference is not UNKNOWN and not re.fullmatch(r"[^/\s@]+/[^:\s@]+:[\w][\w.-]{0,127}", str(reference)):
            reasons["reference"] = f"is {reference!r}; it must be HOST/REPOSITORY:TAG"
        elif UNKNOWN not in (repository, reference) and str(reference).rpartition(":")[0] != repository:
            reasons["reference"] = f"{reference} is not in the repository, which is {repository}"
        return reasons

    def diff(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> list[Change]:  # noqa: ARG002
        """Another image, or another place for it; not where this machine keeps the mirror."""
        return input_changes(olds, news, replace=frozenset({"repository"}), ignore=frozenset({"storage"}))

    def create(self, ctx: Context, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Send what is missing."""
        return f"{news['repository']}@{news['digest']}", self._copied(ctx, news)

    def read(self, ctx: Context, rid: str, state: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Gone when the registry has forgotten it."""
        with self._opened(state["reference"]) as (registry, tag):
            return state if oci.there(registry, tag=tag, digest=state["digest"]) else None

    def update(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """The new image beside the old one."""
        return self._copied(ctx, news)

    def delete(self, ctx: Context, rid: str, state: dict[str, Any]) -> None:
        """Nothing: see the class."""

    def _copied(self, ctx: Context, news: dict[str, Any]) -> dict[str, Any]:
        def before_each(what: str) -> None:
            if ctx.cancelled.is_set():
                raise ResourceError(f"{news['reference']}: stopped between two blobs; the next `make up` continues")
            ctx.log.status(what)

        with self._opened(news["reference"]) as (registry, tag):
            oci.copy(
                oci.Folder(Path(news["storage"])), registry, tag=tag, digest=news["digest"], before_each=before_each
            )
        return news

    @contextlib.contextmanager
    def _opened(self, reference: str) -> Iterator[tuple[oci.Registry, str]]:
        where, _, tag = reference.rpartition(":")
        host, _, repository = where.partition("/")
        with oci.Registry(self._login(host), repository) as registry:
            yield registry, tag
