"""The object store, S3. A store that is away for a while is waited for; a refusal is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from obstore import get, put
from obstore.exceptions import GenericError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from isthmus_training.errors import BadSettings, StoreFailure
from isthmus_training.settings import Settings

T = TypeVar("T")
Say = Callable[[str], None]


class Store:
    """Whole objects by key. Each operation can be repeated: it reads, or writes an object whole."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self.where = f"bucket {settings.s3_bucket} at {settings.s3_endpoint or f'AWS in {settings.s3_region}'}"
        self.opened_by = "mounted keys" if settings.s3_credentials_dir else "pod's identity and what its role may do"
        self.patience, self.say = settings.s3_patience, say
        self.remote = S3Store(
            settings.s3_bucket,
            region=settings.s3_region,
            **address(settings),
            **identity(settings),
            client_options={
                "allow_http": settings.s3_endpoint is not None,
                "timeout": "10s",
                "connect_timeout": "3s",
            },
            retry_config={"max_retries": 0},  # retried here, where it is said
        )

    def get(self, key: str) -> bytes | None:
        """An object's content, or None when there is none."""
        try:
            return self.attempt(f"read {key}", lambda: bytes(get(self.remote, key).bytes()))
        except FileNotFoundError:
            return None

    def put(self, key: str, content: bytes) -> None:
        """Writes an object whole; a reader sees the old one or the new one."""
        try:
            self.attempt(f"write {key}", lambda: put(self.remote, key, content))
        except FileNotFoundError:
            raise StoreFailure(f"{self.where}: there is no such bucket") from None

    def attempt(self, what: str, action: Callable[[], T]) -> T:
        """Tries until it works, is refused (obstore: FileNotFoundError when there is no object), or patience ends."""
        deadline, pause = time.monotonic() + self.patience, 0.5
        while True:
            try:
                return action()
            except (PermissionDeniedError, UnauthenticatedError) as fault:
                raise StoreFailure(
                    f"{self.where} refuses to {what}: {reason(fault)}. Fix: check the {self.opened_by}"
                ) from None
            except GenericError as fault:
                if time.monotonic() + pause > deadline:
                    raise StoreFailure(
                        f"{self.where} did not {what} within {self.patience:g} s: {reason(fault)}."
                        f" Fix: see that the store runs and can be reached, and check the {self.opened_by}"
                    ) from None
                self.say(f"can't {what}, again in {pause:g} s: {reason(fault)}")
                time.sleep(pause)
                pause = min(pause * 2, 8)


def address(settings: Settings) -> dict[str, Any]:
    """An endpoint is used path-style, since a store of one's own has no name for each bucket; AWS has."""
    return {"endpoint": settings.s3_endpoint} if settings.s3_endpoint else {"virtual_hosted_style_request": True}


def identity(settings: Settings) -> dict[str, Any]:
    """The mounted keys, or nothing, which leaves it to obstore: see replication's store.py for what it then takes."""
    folder = settings.s3_credentials_dir
    if folder is None:
        return {}
    try:
        key, secret = ((folder / name).read_text().strip() for name in ("access_key_id", "secret_access_key"))
    except OSError as fault:
        raise BadSettings(f"ISTHMUS_S3_CREDENTIALS_DIR: {fault.strerror}: {fault.filename}") from None
    return {"access_key_id": key, "secret_access_key": secret}


def reason(fault: Exception) -> str:
    """A client error in one line: its first paragraph without the internal details that follow."""
    return " ".join(str(fault).split("\n\nDebug source")[0].split())[:300]
