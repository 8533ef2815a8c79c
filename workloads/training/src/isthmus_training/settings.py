"""What a run is told from outside: environment variables that begin with ISTHMUS_."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from isthmus_training.errors import BadSettings

PREFIX = "ISTHMUS_"


class Settings(BaseModel):
    """Each field is read from ISTHMUS_<FIELD>."""

    model_config = ConfigDict(frozen=True)

    s3_endpoint: str | None = Field(default=None, pattern=r"^https?://")  # none: AWS's own
    s3_region: str = Field(default="", validate_default=True)  # with an endpoint `garage` unless given
    s3_bucket: str = Field(default="models", min_length=3)
    s3_credentials_dir: Path | None = None  # none: the identity that the pod has from its cluster, see store.py
    s3_patience: float = Field(default=120, ge=0, le=3600)  # seconds that an unreachable store is waited for
    model: str = Field(default="digits", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    alias: str = Field(default="champion", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    threshold: float = Field(default=0.95, ge=0, le=1)  # accuracy on the held-out samples
    seed: int = Field(default=17, ge=0, lt=2**32)
    data: Path | None = None  # another data set than the one in scikit-learn, see acquire.py

    @field_validator("s3_region")
    @classmethod
    def _is_known(cls, given: str, info: ValidationInfo) -> str:
        if not given and info.data.get("s3_endpoint", "") is None:
            raise ValueError("without ISTHMUS_S3_ENDPOINT the store is AWS's; name its region, such as eu-central-1")
        return given or "garage"


def load(variables: Mapping[str, str]) -> Settings:
    """Reads the settings; BadSettings names every variable that is wrong, and why."""
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
