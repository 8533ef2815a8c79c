"""What the page is told from outside: environment variables that begin with ISTHMUS_."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "ISTHMUS_"
URL = r"^http://[^/]+$"


class BadSettings(Exception):
    """Names every variable that is wrong, and why."""


class Settings(BaseModel):
    """Each field is read from ISTHMUS_<FIELD>."""

    model_config = ConfigDict(frozen=True)

    site: str = Field(min_length=1)
    kubernetes_url: str = Field(default="https://kubernetes.default.svc", pattern=r"^https://[^/]+$")
    account_dir: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount")  # its token, and who signs for the API
    inference_url: str = Field(pattern=URL)
    model: str = Field(default="digits", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    alertmanager_url: str = Field(pattern=URL)
    peer_url: str | None = Field(default=None, pattern=URL)  # the page of the other site; none: there is no other
    refresh_seconds: float = Field(default=10, gt=0, le=3600)  # between two looks at everything
    timeout_seconds: float = Field(default=5, gt=0, le=60)  # longest wait for one source
    host: str = "0.0.0.0"  # noqa: S104  (a pod's own network namespace)
    port: int = Field(default=8080, ge=0, le=65535)


def load(variables: Mapping[str, str]) -> Settings:
    """Reads the settings, or raises BadSettings."""
    found = {
        name: variables[PREFIX + name.upper()] for name in Settings.model_fields if variables.get(PREFIX + name.upper())
    }
    try:
        return Settings.model_validate(found)
    except ValidationError as fault:
        reasons = [f"{PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}" for e in fault.errors(include_url=False)]
        raise BadSettings("; ".join(reasons)) from None
