"""What the server is told from outside: environment variables that begin with ISTHMUS_."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

PREFIX = "ISTHMUS_"


class BadSettings(Exception):
    """Names every variable that is wrong, and why."""


class Settings(BaseModel):
    """Each field is read from ISTHMUS_<FIELD>."""

    model_config = ConfigDict(frozen=True)

    s3_endpoint: str | None = Field(default=None, pattern=r"^https?://")  # none: AWS's own
    s3_region: str = Field(default="", validate_default=True)  # with an endpoint `garage` unless given
    s3_bucket: str = Field(default="models", min_length=3)
    s3_credentials_dir: Path | None = None  # none: the identity that the pod has from its cluster, see store.py
    model: str = Field(default="digits", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    alias: str = Field(default="champion", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    poll_seconds: float = Field(default=5, gt=0, le=3600)  # how soon a newly promoted model is noticed
    host: str = "0.0.0.0"  # noqa: S104  (a pod's own network namespace)
    port: int = Field(default=8080, ge=0, le=65535)
    max_body_bytes: int = Field(
        default=512 * 1024, ge=1024
    )  # about 1000 images; bounds memory and how long one request holds others up
    max_connections: int = Field(default=512, ge=1)  # with max_body_bytes this bounds the memory of bodies
    body_seconds: float = Field(default=10, gt=0)  # a client that takes longer to send its body is turned away
    drain_seconds: float = Field(default=5, ge=0)  # between "not ready" and closing, so that balancers notice first

    @field_validator("s3_region")
    @classmethod
    def _is_known(cls, given: str, info: ValidationInfo) -> str:
        if not given and info.data.get("s3_endpoint", "") is None:
            raise ValueError("without ISTHMUS_S3_ENDPOINT the store is AWS's; name its region, such as eu-central-1")
        return given or "garage"


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
