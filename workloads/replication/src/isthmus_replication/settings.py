"""What replication is told from outside: environment variables that begin with ISTHMUS_."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

PREFIX = "ISTHMUS_"
HOST = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")  # it becomes part of a key


class BadSettings(Exception):
    """Names every variable that is wrong, and why."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A bucket. Without an endpoint it is AWS's own; without a folder of keys, the pod's identity opens it."""

    endpoint: str | None
    region: str
    bucket: str
    credentials_dir: Path | None


class Settings(BaseModel):
    """Each field is read from ISTHMUS_<FIELD>."""

    model_config = ConfigDict(frozen=True)

    source_endpoint: str | None = Field(default=None, pattern=r"^https?://")
    source_region: str = Field(min_length=1)
    source_bucket: str = Field(min_length=3)
    source_credentials_dir: Path | None = None
    destination_endpoint: str | None = Field(default=None, pattern=r"^https?://")
    destination_region: str = Field(min_length=1)
    destination_bucket: str = Field(min_length=3)
    destination_credentials_dir: Path | None = None
    model: str = Field(default="digits", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    alias: str = Field(default="champion", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    backups_of: tuple[str, ...] = ()  # hosts whose backups are copied; the champion is where there are none
    poll_seconds: float = Field(default=5, gt=0, le=3600)  # how soon a new champion, or a healed link, is noticed
    scratch_dir: Path = Path("/tmp")
    scratch_bytes: int = Field(default=2**30, ge=1)  # the largest object that is copied; what scratch_dir must hold
    host: str = "0.0.0.0"  # noqa: S104  (a pod's own network namespace)
    port: int = Field(default=8080, ge=0, le=65535)

    @field_validator("backups_of", mode="before")
    @classmethod
    def _are_names_of_hosts(cls, given: object) -> object:
        names = tuple(given.split(",")) if isinstance(given, str) else given
        if isinstance(names, tuple) and not all(HOST.fullmatch(name) for name in names):
            raise ValueError(f"it is {given!r}; it must be names of hosts, with commas between them")
        return names

    @field_validator("destination_bucket")
    @classmethod
    def _is_another_than_the_source(cls, given: str, info: ValidationInfo) -> str:
        source, own = (info.data.get("source_endpoint", "?"), info.data.get("source_bucket")), given
        if source == (info.data.get("destination_endpoint", "!"), own):
            raise ValueError("it is the source's own bucket; name the other store's endpoint or bucket")
        return given

    @property
    def source(self) -> Place:
        """Where to copy from."""
        return Place(
            endpoint=self.source_endpoint,
            region=self.source_region,
            bucket=self.source_bucket,
            credentials_dir=self.source_credentials_dir,
        )

    @property
    def destination(self) -> Place:
        """Where it is to be as well."""
        return Place(
            endpoint=self.destination_endpoint,
            region=self.destination_region,
            bucket=self.destination_bucket,
            credentials_dir=self.destination_credentials_dir,
        )


def load(variables: Mapping[str, str]) -> Settings:
    """Reads the settings, or raises BadSettings."""
    found = {
        name: variables[PREFIX + name.upper()] for name in Settings.model_fields if variables.get(PREFIX + name.upper())
    }
    try:
        return Settings.model_validate(found)
    except ValidationError as fault:
        reasons = [
            f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ')}"
            for e in fault.errors(include_url=False)
        ]
        raise BadSettings("; ".join(reasons)) from None
