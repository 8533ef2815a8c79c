"""What training wrote, as far as a copy depends on it; see training's manifest.py and publish.py."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isthmus_replication.faults import Refused

FORMAT = 1
DIGEST = r"^sha256:[0-9a-f]{64}$"


class Alias(BaseModel):
    """Which version is meant, and the digest of its manifest."""

    model_config = ConfigDict(frozen=True)

    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")  # it becomes part of a key
    manifest_digest: str = Field(pattern=DIGEST)


class File(BaseModel):
    digest: str = Field(pattern=DIGEST)
    size: int = Field(ge=1)


class Manifest(BaseModel):
    """The part of the manifest that says what else belongs to the version."""

    format: int
    model: str
    version: str
    onnx: File


def alias_key(name: str, alias: str) -> str:
    """Where an alias is."""
    return f"models/{name}/aliases/{alias}.json"


def folder(name: str, version: str) -> str:
    """Where a version's two files are."""
    return f"models/{name}/versions/{version}"


def digest(content: bytes) -> str:
    """`sha256:<hex>` of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read_alias(content: bytes) -> Alias:
    """What the alias points at; Refused when it can't be read."""
    try:
        return Alias.model_validate_json(content)
    except ValidationError as fault:
        raise Refused(f"the source's alias can't be read: {in_one_line(fault)}") from None


def read_manifest(content: bytes, name: str, alias: Alias) -> Manifest:
    """The manifest, if it is the one that the alias promised and this code knows what belongs to it."""
    if digest(content) != alias.manifest_digest:
        raise Refused(
            f"manifest.json of {name} {alias.version} has digest {digest(content)},"
            f" the alias promises {alias.manifest_digest}"
        )
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as fault:
        raise Refused(f"manifest.json of {name} {alias.version} can't be read: {in_one_line(fault)}") from None
    if manifest.format != FORMAT:
        raise Refused(f"manifest.json has format {manifest.format}; format {FORMAT} is what can be copied")
    if (manifest.model, manifest.version) != (name, alias.version):
        raise Refused(
            f"manifest.json is of {manifest.model} {manifest.version}, the alias promises {name} {alias.version}"
        )
    return manifest


def in_one_line(fault: ValidationError) -> str:
    """Each wrong field and why, without what it holds."""
    wrong = fault.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'content'}: {e['msg']}" for e in wrong)
