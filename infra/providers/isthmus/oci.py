"""Copies an image from the mirror's folder to a registry, by digest: what is there already is not sent again.

The folder is read as it lies on this machine (see ops/mirror/registry.py), so that no server has to run for it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from infra.providers.isthmus.handler import ResourceError

TRIES: Final = 3
PAUSE_S: Final = 2.0

MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class Refused(ResourceError):
    """A registry did not take something: what that was and where, why, and its status (None: it did not answer)."""

    def __init__(self, what: str, reason: str, status: int | None) -> None:
        self.what, self.reason, self.status = what, reason, status
        super().__init__(f"{what}: {reason}. {_way_out(reason)}")


@dataclass(frozen=True)
class Folder:
    """The mirror's storage."""

    root: Path

    def blob(self, digest: str) -> Path:
        """Where a blob lies; ResourceError when it does not."""
        value = digest.removeprefix("sha256:")
        path = self.root / "docker" / "registry" / "v2" / "blobs" / "sha256" / value[:2] / value / "data"
        if not path.is_file():
            raise ResourceError(
                f"the mirror does not hold {digest[:19]} ({path} is missing); run: make mirror ARGS=sync"
            )
        return path

    def manifest(self, digest: str) -> tuple[bytes, dict[str, Any]]:
        """A manifest as it lies there, and what it says."""
        content = self.blob(digest).read_bytes()
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
            raise ResourceError(
                f"{digest[:19]} is damaged in the mirror; run: make mirror ARGS=verify, which says how to mend it"
            )
        return content, json.loads(content)


@dataclass(frozen=True, kw_only=True)
class Login:
    """How a registry is reached; the password stays in memory."""

    url: str
    """Such as https://registry.example."""
    user: str = ""
    password: str = field(default="", repr=False)
    proxies: bool = True
    """Whether the environment's proxies lead there."""


@functools.cache
def _trusted(environment: bool) -> ssl.SSLContext:
    """Whose certificates are believed; read once, for it takes longer than to ask a registry about an image."""
    return httpx.create_ssl_context(trust_env=environment)


class Registry:
    """One repository of a registry. Its refusals are Refused, which names the repository and the way out."""

    def __init__(self, login: Login, repository: str) -> None:
        self.repository = repository
        self._host = httpx.URL(login.url).host
        self._auth = httpx.BasicAuth(login.user, login.password) if login.user else None
        self._client = httpx.Client(
            base_url=login.url,
            timeout=httpx.Timeout(30, read=300, write=300),
            trust_env=login.proxies,
            verify=_trusted(login.proxies),
        )

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def holds(self, kind: str, reference: str) -> bool:
        """Whether it has that of its `manifests` or `blobs`."""
        answer = self._ask("HEAD", f"/v2/{self.repository}/{kind}/{reference}", ok=(200, 307, 404))
        # A registry may keep its blobs elsewhere, and says where to those who ask for one.
        return answer.status_code != 404

    def tagged(self, tag: str, digest: str) -> bool:
        """Whether the tag is there and points to that manifest."""
        answer = self._ask("HEAD", f"/v2/{self.repository}/manifests/{tag}", ok=(200, 404))
        # A registry need not tell the digest. One of those whose tags cannot move has no other there.
        return answer.status_code == 200 and answer.headers.get("Docker-Content-Digest", digest) == digest

    def put_blob(self, digest: str, path: Path) -> None:
        """Sends a blob; the registry holds it to its digest."""
        size = str(path.stat().st_size)

        def send() -> httpx.Response:
            begun = self._once("POST", f"/v2/{self.repository}/blobs/uploads/")
            if begun.status_code != 202:
                return begun
            where = self._client.base_url.join(begun.headers["Location"]).copy_merge_params({"digest": digest})
            headers = {"Content-Type": "application/octet-stream", "Content-Length": size}
            with path.open("rb") as body:
                return self._once("PUT", str(where), content=body, headers=headers)

        self._tried(send, ok=(201,), what=f"the blob {digest[:19]}")

    def put_manifest(self, reference: str, content: bytes, kind: str) -> None:
        """Sends a manifest, whose blobs are there by now."""
        headers = {"Content-Type": kind}
        self._ask("PUT", f"/v2/{self.repository}/manifests/{reference}", ok=(201,), content=content, headers=headers)

    def _ask(self, method: str, url: str, *, ok: tuple[int, ...], **more: Any) -> httpx.Response:
        return self._tried(lambda: self._once(method, url, **more), ok=ok, what=url.rpartition("/")[2][:70])

    def _once(self, method: str, url: str, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        headers = {"Accept": ", ".join(MANIFEST_TYPES), **(headers or {})}
        # The password is the registry's alone, wherever it sends us.
        own = self._client.base_url.join(url).host == self._host
        return self._client.request(method, url, headers=headers, auth=self._auth if own else None, **more)

    def _tried(self, send: Callable[[], httpx.Response], *, ok: tuple[int, ...], what: str) -> httpx.Response:
        reason, status = "", None
        for attempt in range(TRIES):
            if attempt:
                time.sleep(PAUSE_S * attempt)
            try:
                answer = send()
            except httpx.TransportError as error:
                reason, status = f"{self._host} does not answer ({type(error).__name__}: {error})", None
                continue
            if answer.status_code in ok:
                return answer
            reason, status = f"HTTP {answer.status_code}{_said(answer)}", answer.status_code
            if answer.status_code != 429 and answer.status_code < 500:
                break
        raise Refused(f"repository {self.repository} at {self._host}, {what}", reason, status)


def _said(answer: httpx.Response) -> str:
    """The registry's own words, if it has some."""
    try:
        errors = answer.json()["errors"]
        return ": " + "; ".join(f"{one.get('code', '')} {one.get('message', '')}".strip() for one in errors)[:300]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _way_out(reason: str) -> str:
    if "HTTP 401" in reason or "HTTP 403" in reason:
        return "Fix: the credentials must be of its account and may push images (README.md, A real environment)"
    if "HTTP 404" in reason:
        return "Fix: the repository is gone: `pulumi refresh`, then `make up` makes it anew"
    if "TAG_INVALID" in reason or "ImageTagAlreadyExists" in reason:
        return "Fix: somebody else has pushed under that tag, which cannot move: delete that image"
    if "DIGEST_INVALID" in reason:
        return "Fix: it is damaged in the mirror, or on its way: make mirror ARGS=verify tells"
    return "Fix: mend that and run again: it continues with what is missing"


def there(registry: Registry, *, tag: str, digest: str) -> bool:
    """Whether the registry holds the manifest, and so all that it names, and the tag points to it."""
    return registry.holds("manifests", digest) and registry.tagged(tag, digest)


def copy(
    folder: Folder, registry: Registry, *, tag: str, digest: str, before_each: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Makes the registry hold the manifest of that digest under the tag; returns the digests that were sent.

    `before_each` is told what comes next, and may stop it by raising.
    """
    if there(registry, tag=tag, digest=digest):
        return []
    sent: list[str] = []
    for one in _parts(folder, digest):
        if not registry.holds("blobs", one):
            path = folder.blob(one)
            before_each(f"{registry.repository}: sending {one[7:19]}, {path.stat().st_size / 1e6:.1f} MB")
            registry.put_blob(one, path)
            sent.append(one)
    for one, content, said in _manifests(folder, digest):
        before_each(f"{registry.repository}: sending the manifest {one[7:19]}")
        registry.put_manifest(tag if one == digest else one, content, media_type(said))
        sent.append(one)
    return sent


def _manifests(folder: Folder, digest: str) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """A manifest after those that it refers to."""
    content, said = folder.manifest(digest)
    for child in said.get("manifests", ()):
        yield from _manifests(folder, child["digest"])
    yield digest, content, said


def _parts(folder: Folder, digest: str) -> list[str]:
    """Digests of the blobs of an image: configuration and layers, each once."""
    found = (
        part["digest"]
        for _, _, said in _manifests(folder, digest)
        for part in (*((said["config"],) if "config" in said else ()), *said.get("layers", ()))
    )
    return list(dict.fromkeys(found))


def media_type(said: dict[str, Any]) -> str:
    """What a manifest is; those of OCI need not say it."""
    return said.get("mediaType") or MANIFEST_TYPES[1 if "manifests" in said else 0]
