"""The object store, S3, read only. Each failure is StoreUnavailable: the caller serves on."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from obstore import get_async
from obstore.exceptions import BaseError, NotModifiedError
from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore.store import S3Credential

from isthmus_inference.settings import Settings


class StoreUnavailable(Exception):
    """No answer, a refusal, or no such object; the message says which."""


class Unchanged(Exception):
    """The object is still the one with that ETag."""


class Object(NamedTuple):
    """What an object holds, the ETag that goes with it, and when it was written."""

    content: bytes
    etag: str | None
    written: datetime


class Keys:
    """Reads the mounted keys anew every few minutes, so that rotated keys are taken up without a restart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> S3Credential:
        return {
            "access_key_id": (self.folder / "access_key_id").read_text().strip(),
            "secret_access_key": (self.folder / "secret_access_key").read_text().strip(),
            "expires_at": datetime.now(UTC) + timedelta(minutes=10),
        }


class Store:
    """Reads whole objects."""

    def __init__(self, settings: Settings) -> None:
        self.remote = S3Store(
            settings.s3_bucket,
            region=settings.s3_region,
            **address(settings),
            **identity(settings),
            client_options={
                "allow_http": settings.s3_endpoint is not None,
                "timeout": "5s",
                "connect_timeout": "2s",
            },
            retry_config={"max_retries": 0},  # the next poll is the retry
        )

    async def get(self, key: str, unless: str | None = None) -> Object:
        """The object; raises Unchanged when its ETag is still `unless`, which costs the store no read."""
        try:
            found = await get_async(self.remote, key, options={"if_none_match": unless} if unless else {})
            return Object(bytes(await found.bytes_async()), found.meta["e_tag"], found.meta["last_modified"])
        except NotModifiedError:
            raise Unchanged(key) from None
        except FileNotFoundError:
            raise StoreUnavailable(f"{key} does not exist") from None
        except (BaseError, OSError) as fault:
            raise StoreUnavailable(reason(fault)) from None


def address(settings: Settings) -> dict[str, Any]:
    """An endpoint is used path-style, since a store of one's own has no name for each bucket; AWS has."""
    return {"endpoint": settings.s3_endpoint} if settings.s3_endpoint else {"virtual_hosted_style_request": True}


def identity(settings: Settings) -> dict[str, Any]:
    """The mounted keys, or nothing, which leaves it to obstore: see replication's store.py for what it then takes."""
    folder = settings.s3_credentials_dir
    return {"credential_provider": Keys(folder)} if folder else {}


def reason(fault: Exception) -> str:
    """A client error in one line, without internals and timings: the same fault must read the same each time."""
    text = " ".join(str(fault).split("\n\nDebug source")[0].split())
    return re.sub(r" in [0-9.]+[mµn]?s\b", "", text)[:300]
