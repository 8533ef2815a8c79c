"""One of the two object stores. Nothing is ever deleted, and an object is written whole or not at all."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from obstore import get_async, put_async
from obstore.exceptions import BaseError, NotModifiedError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Credential

from isthmus_replication.faults import Unavailable
from isthmus_replication.settings import BadSettings, Place

KEY_FILES = ("access_key_id", "secret_access_key")
PART_BYTES = 8 * 2**20  # of one read or write: what a cut can make a write repeat
CHUNK_BYTES = 2**18  # kept as it comes, so that a read repeats less than that
WRITES_AT_ONCE = 2  # with PART_BYTES this bounds memory


class Unchanged(Exception):
    """The object is still the one with that ETag."""


class Missing(Exception):
    """There is no such object."""


class Keys:
    """Reads the mounted keys anew every few minutes, so that rotated keys are taken up without a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> S3Credential:
        key, secret = ((self.folder / name).read_text().strip() for name in KEY_FILES)
        return {
            "access_key_id": key,
            "secret_access_key": secret,
            "expires_at": datetime.now(UTC) + timedelta(minutes=10),
        }


class Store:
    """Reads and writes objects by key. `alive` is called for each sign of progress."""

    def __init__(self, side: str, place: Place, alive: Callable[[], None]) -> None:
        self.side, self.alive = side, alive
        self.where = f"{side} bucket {place.bucket} at {place.endpoint or f'AWS in {place.region}'}"
        self.remote = S3Store(
            place.bucket,
            region=place.region,
            **address(place),
            **identity(side, place),
            client_options={
                "allow_http": place.endpoint is not None,
                "connect_timeout": "3s",
                "read_timeout": "10s",  # without a byte
                "timeout": "120s",  # a part over a slow link; what came of it until then is kept
            },
            retry_config={"max_retries": 0},  # the next poll is the retry
        )

    async def read(self, key: str, unless: str | None = None) -> tuple[bytes, str | None]:
        """A small object and its ETag; Unchanged when the ETag is still `unless`, which costs the store no read."""
        with self.answering(f"read {key}"):
            found = await get_async(self.remote, key, options={"if_none_match": unless} if unless else {})
            return bytes(await found.bytes_async()), found.meta["e_tag"]

    async def about(self, key: str) -> tuple[ObjectMeta, dict[str, str]]:
        """What the store says of an object, and what its writer did, without reading it."""
        with self.answering(f"look at {key}"):
            found = await get_async(self.remote, key, options={"head": True})
            return found.meta, {str(name): str(value) for name, value in found.attributes.items()}

    async def part(self, key: str, start: int, end: int) -> tuple[ObjectMeta, AsyncIterator[bytes]]:
        """The bytes `start` to `end` as they come, after what the store says of the whole object."""
        with self.answering(f"read {key}"):
            found = await get_async(self.remote, key, options={"range": (start, end)})
        return found.meta, self.chunks(found, key)

    async def chunks(self, found: Any, key: str) -> AsyncIterator[bytes]:
        """An answer's bytes as they come."""
        with self.answering(f"read {key}"):
            async for chunk in found.stream(CHUNK_BYTES):
                self.alive()
                yield chunk

    async def write(self, key: str, content: bytes | Iterator[bytes], attributes: dict[str, str] | None = None) -> None:
        """Writes an object; readers see the old one until the last byte has come. An iterator is sent in parts.

        `attributes` are what `about` tells of it.
        """
        body = content if isinstance(content, bytes) else self.pass_on(content)
        with self.answering(f"write {key}"):
            await put_async(
                self.remote,
                key,
                body,
                attributes=attributes,
                chunk_size=PART_BYTES,
                max_concurrency=WRITES_AT_ONCE,
            )

    def pass_on(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks; each one asked for is progress."""
        for chunk in chunks:
            self.alive()
            yield chunk

    @contextmanager
    def answering(self, what: str) -> Iterator[None]:
        """Turns obstore's errors into this module's, in one line that names the store."""
        self.alive()
        try:
            yield
        except NotModifiedError:
            raise Unchanged from None
        except FileNotFoundError as fault:
            if "NoSuchBucket" not in str(fault):
                raise Missing from None
            raise Unavailable(f"{self.side}_no_bucket", f"{self.where}: there is no such bucket") from None
        except (PermissionDeniedError, UnauthenticatedError) as fault:
            message = (
                f"{self.where} refuses to {what}: {reason(fault)}. Fix: check its keys, or what the pod's role may do"
            )
            raise Unavailable(f"{self.side}_denied", message) from None
        except BaseError as fault:
            message = f"{self.where} did not {what}: {reason(fault)}"
            raise Unavailable(f"{self.side}_unreachable", message) from None


def address(place: Place) -> dict[str, Any]:
    """An endpoint is used path-style, since a store of one's own has no name for each bucket; AWS has."""
    return {"endpoint": place.endpoint} if place.endpoint else {"virtual_hosted_style_request": True}


def identity(side: str, place: Place) -> dict[str, Any]:
    """The mounted keys, or nothing, which leaves it to obstore.

    What obstore 0.12.1 then takes, read in its engine (object_store 0.14.2, src/aws/builder.rs) and tried in
    workloads/test_stores.py: AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY; else AWS_WEB_IDENTITY_TOKEN_FILE with
    AWS_ROLE_ARN; else AWS_CONTAINER_CREDENTIALS_RELATIVE_URI; else AWS_CONTAINER_CREDENTIALS_FULL_URI with
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, which is what EKS Pod Identity sets; else the instance's metadata service.
    Credentials are fetched anew, and the token file read anew, five minutes before they expire.
    """
    if place.credentials_dir is None:
        return {}
    keys = Keys(place.credentials_dir)
    try:
        keys()
    except OSError as fault:
        variable = f"ISTHMUS_{side.upper()}_CREDENTIALS_DIR"
        raise BadSettings(f"{variable}: {fault.strerror}: {fault.filename}") from None
    return {"credential_provider": keys}


def reason(fault: Exception) -> str:
    """A client error in one line, without internals and timings: the same fault must read the same each time."""
    text = " ".join(str(fault).split("\n\nDebug source")[0].split())
    return re.sub(r" in [0-9.]+[mµn]?s\b", "", text)[:300]
