"""mirror/catalog.yaml as a checked model: unknown keys are refused, errors name entry, key and rule."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from infra.paths import ROOT
from ops.console import Failure

PATH = ROOT / "mirror" / "catalog.yaml"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Module(Strict):
    """A Go module that programs are built from; mirror/go/<its name>/ pins it and all that it needs.

    `pins` names another module whose folder does: modules that are used together are pinned, and compiled, together.
    """

    path: str
    version: str
    pins: str | None = None
    tags: tuple[str, ...] = ()
    ldflags: str = ""


class File(Strict):
    """A download; `member` is the program inside an archive, `extras` go beside it, `version` is its own."""

    url: str = Field(pattern=r"^https://")
    sha256: Sha256 | None = None
    checksums: str | None = Field(None, pattern=r"^https://")
    member: str | None = None
    extras: tuple[str, ...] = ()
    version: str | None = None

    @model_validator(mode="after")
    def _held_to_something(self) -> File:
        if (self.sha256 is None) == (self.checksums is None):
            raise ValueError("a download needs exactly one of sha256 and checksums (the publisher's checksum file)")
        return self


class Image(Strict):
    """An image of an upstream registry; `resolve` takes and records the digest at the first sync."""

    image: str = Field(pattern=r"^[a-z0-9.-]+(/[a-z0-9._-]+)+:[\w.-]+$")
    digest: str = Field(pattern=r"^(resolve|sha256:[0-9a-f]{64})$")


class Nothing(Strict):
    """No upstream copy, and why."""

    none: str = Field(min_length=5)


class GoProgram(Strict):
    module: str
    package: str
    extras: tuple[str, ...] = ()


class FromGo(GoProgram):
    from_: Literal["go"] = Field(alias="from")


class FromCgo(GoProgram):
    """A Go program that the C compiler has a part in: it is linked with the C library, which its image must have."""

    from_: Literal["cgo"] = Field(alias="from")


class FromC(Strict):
    from_: Literal["c"] = Field(alias="from")
    module: str
    source: str
    defines: dict[str, str] = {}


class FromCrate(Strict):
    from_: Literal["crate"] = Field(alias="from")
    crate: str
    binary: str
    features: tuple[str, ...]
    """Of the crate's own, those that are compiled in; none by default."""
    sha256: Sha256
    rust: str = Field(pattern=r"^\d+\.\d+$")


class FromDebian(Strict):
    from_: Literal["debian"] = Field(alias="from")
    suite: Literal["bookworm", "trixie"]
    folder: str
    variant: Literal["minbase", "extract"] = "minbase"


class Tree(Strict):
    """A file or folder of a pinned Go module."""

    module: str
    path: str
    without: tuple[str, ...] = ()


class FromImage(Strict):
    from_: Literal["image"] = Field(alias="from")
    folder: str
    base: str | None = None
    inputs: tuple[str, ...] = ()
    arguments: dict[str, str] = {}
    trees: dict[str, Tree] = {}


class FromWorkload(Strict):
    from_: Literal["workload"] = Field(alias="from")
    folder: str
    base: str
    trees: dict[str, Tree] = {}


class FromChart(Strict):
    from_: Literal["chart"] = Field(alias="from")
    module: str
    path: str


class FromUpstream(Strict):
    """It is copied and never built: why, and what a site does that cannot copy it."""

    from_: Literal["upstream"] = Field(alias="from")
    why: str = Field(min_length=5)
    otherwise: str = Field(min_length=5)


Build = Annotated[
    FromGo | FromCgo | FromC | FromCrate | FromDebian | FromImage | FromWorkload | FromChart | FromUpstream,
    Field(discriminator="from_"),
]
KINDS = {
    "go": "file",
    "cgo": "file",
    "c": "file",
    "crate": "file",
    "debian": "rootfs",
    "image": "image",
    "workload": "image",
    "chart": "chart",
    "upstream": "image",
}


def _upstream_tag(value: Any) -> str:
    keys = set(value) if isinstance(value, dict) else set()
    return "image" if "image" in keys else "none" if "none" in keys else "file"


class Entry(Strict):
    """One artefact; `on_request`: had only where an environment asks for it, or what needs it is had."""

    kind: Literal["file", "image", "rootfs", "chart"]
    version: str
    licence: str = Field(min_length=3)
    upstream: File | Image | Nothing
    build: Build
    used_by: tuple[str, ...] = Field(min_length=1)
    served: bool = False
    on_request: bool = False
    ref: str | None = Field(None, pattern=r"^[a-z0-9.-]+(/[a-z0-9._-]+)+(:[\w.-]+)?$")

    @field_validator("upstream", mode="before")
    @classmethod
    def _one_kind_of_upstream(cls, value: Any) -> Any:
        # Choosing by key keeps errors about the kind that was meant, instead of about all three.
        models: dict[str, type[Strict]] = {"file": File, "image": Image, "none": Nothing}
        return models[_upstream_tag(value)].model_validate(value)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Entry:
        made = KINDS[self.build.from_]
        if made != self.kind:
            raise ValueError(f"kind is {self.kind}, but build.from {self.build.from_} makes a {made}")
        if (self.ref is not None) != (self.kind == "image"):
            raise ValueError("ref is for images, and every image has one")
        if self.served and self.kind != "file":
            raise ValueError("served is for files: images are always served, the rest never")
        if isinstance(self.build, FromUpstream) and not (self.on_request and isinstance(self.upstream, Image)):
            raise ValueError("what is not built has an upstream, and on_request: no site may have to reach a publisher")
        if isinstance(self.upstream, Image) and self.upstream.image != self.ref:
            raise ValueError(f"upstream.image {self.upstream.image} is not the canonical name {self.ref}")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the artefacts that its build takes in."""
        match self.build:
            case FromImage(base=base, inputs=inputs):
                return (*([base] if base else []), *inputs)
            case FromWorkload(base=base):
                return (base,)
        return ()

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the Go modules that its build reads."""
        match self.build:
            case GoProgram(module=module) | FromC(module=module) | FromChart(module=module):
                return (module,)
            case FromImage(trees=trees) | FromWorkload(trees=trees):
                return tuple(sorted({tree.module for tree in trees.values()}))
        return ()


class Catalog(Strict):
    modules: dict[str, Module]
    artifacts: dict[str, Entry]

    @property
    def usual(self) -> list[str]:
        """Names of the artefacts that every environment has."""
        return [name for name, entry in self.artifacts.items() if not entry.on_request]


def load(path: Path = PATH, root: Path = ROOT) -> Catalog:
    """The checked catalog; Failure lists every fault in one line each."""
    try:
        catalog = Catalog.model_validate(yaml.load(path.read_text(), Loader=_Loader))
        faults = list(_cross_faults(catalog, root))
    except ValidationError as error:
        faults = [_line(fault) for fault in error.errors()]
    except yaml.YAMLError as error:
        faults = [" ".join(str(error).split())]
    if faults:
        raise Failure(f"{path.name} is refused:\n  " + "\n  ".join(faults), fix=f"mend these lines of {path}")
    return catalog


def _line(fault: Any) -> str:
    location = fault["loc"]
    # After `build` comes the kind that pydantic chose the model by; it is no key of the file.
    where = [
        str(part) for at, part in enumerate(location) if not (at and location[at - 1] == "build" and part in KINDS)
    ]
    entry, key = (where[1] if len(where) > 1 else "(top)"), ".".join(where[2:]) or "(entry)"
    rule = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
    return f"{entry}: {key}: {rule}"


def _cross_faults(catalog: Catalog, root: Path) -> Any:
    """What one entry cannot see of itself: names that must exist, pins that must agree."""
    for name, module in catalog.modules.items():
        pins = root / "mirror" / "go" / (module.pins or name) / "go.mod"
        wanted = f"{module.path} {module.version}"
        if not pins.exists():
            yield f"{name}: path: {pins.relative_to(root)} is missing; it pins the module"
        elif not re.search(rf"^(require )?\s*{re.escape(wanted)}( //.*)?$", pins.read_text(), re.M):
            yield f"{name}: version: {pins.relative_to(root)} does not require {wanted}; the two must agree"
    for name, entry in catalog.artifacts.items():
        for need in entry.needs:
            if need not in catalog.artifacts:
                yield f"{name}: build: needs {need!r}, which the catalog does not hold"
        for need in entry.modules:
            if need not in catalog.modules:
                yield f"{name}: build: module {need!r} is not among modules"
    yield from _cycles(catalog)


def _cycles(catalog: Catalog) -> Any:
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> Any:
        if name in path:
            yield f"{name}: build: needs itself ({' -> '.join((*path, name))})"
        elif name not in done and name in catalog.artifacts:
            done.add(name)
            for need in catalog.artifacts[name].needs:
                yield from walk(need, (*path, name))

    for name in catalog.artifacts:
        yield from walk(name, ())


# libyaml's loader is ten times faster, and PyYAML always holds one of the two.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """Refuses a key that is given twice: the second would silently win."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if key.value != "<<" and key.value in seen:
                raise yaml.YAMLError(f"{key.value}: given twice, on {key.start_mark}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)
