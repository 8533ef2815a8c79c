"""What the site's mirror holds: the index that `make mirror ARGS=sync` writes and the program reads.

The index lists every artefact of mirror/catalog.yaml with its digest and, where it lies on this machine, its path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.paths import INDEX

FIX = "run: make mirror ARGS=sync"

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class ArtifactError(Exception):
    """The index is missing, damaged, or does not hold what was asked for; the message ends with the fix."""


class Artifact(BaseModel):
    """One artefact. `digest` is of the content (files, rootfs), of the manifest (images), or of the folder (charts)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["file", "image", "rootfs", "chart"]
    version: str
    digest: Digest
    size: int
    ref: str | None = None
    path: Path | None = None

    @property
    def sha256(self) -> str:
        """The digest without its algorithm, as ansible and sha256sum write it."""
        return self.digest.removeprefix("sha256:")

    @property
    def local(self) -> Path:
        """Where it lies on this machine; images lie in the registry only."""
        if self.path is None:
            raise ArtifactError(f"{self.ref or self.version} is an image: it has no local path")
        return self.path

    @property
    def image(self) -> str:
        """The canonical image name, such as registry.k8s.io/pause:3.10.2."""
        if self.ref is None:
            raise ArtifactError(f"{self.path} is no image: it has no reference")
        return self.ref


class Index(BaseModel):
    """Every artefact by its name in the catalog."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    artifacts: dict[str, Artifact]
    absent: dict[str, Artifact] = {}
    """What could not be had for a preview; their digests, which nobody has seen, are zeros."""

    @classmethod
    def load(cls, path: Path = INDEX) -> Index:
        """Read the index; ArtifactError says what is wrong with it and how to make it anew."""
        try:
            return cls.model_validate(json.loads(path.read_text()))
        except FileNotFoundError:
            raise ArtifactError(f"the mirror has not been filled yet ({path} is missing); {FIX}") from None
        except (ValidationError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ArtifactError(f"the mirror's index {path} is damaged ({reason}); {FIX}") from error

    def for_preview(self) -> Index:
        """With what is absent: a preview shows all the same what would use it."""
        return Index(artifacts={**self.absent, **self.artifacts})

    def artifact(self, name: str) -> Artifact:
        """The artefact of that name."""
        try:
            return self.artifacts[name]
        except KeyError:
            held = ", ".join(sorted(self.artifacts)) or "nothing"
            raise ArtifactError(f"the mirror does not hold {name!r}; {FIX} (it holds: {held})") from None


def file_url(mirror_url: str, name: str, artifact: Artifact) -> str:
    """Where nodes fetch a file: the registry serves it as a plain blob."""
    return f"{mirror_url.rstrip('/')}/v2/files/{name}/blobs/{artifact.digest}"
