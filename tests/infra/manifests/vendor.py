"""Writes kubernetes.json and snapshots.json: what upstream says of the kinds that the program makes, without its prose.

    python -m tests.infra.manifests.vendor

Run it when mirror/catalog.yaml takes another version. The files are in the repository so that `make check` needs
neither Go nor a network; test_vendor.py compares them with the modules wherever the modules are.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.artifacts import Artifact, Index
from infra.paths import CACHE
from infra.platform.csi import snapshots
from infra.providers.offline.kubernetes import kinds
from ops.mirror import catalog, golang

FOLDER: Final = Path(__file__).parent
PROSE: Final = ("description", "default")
"""Two thirds of the text, and none of the rules."""

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Vendored:
    """A file of the repository, and how `taken` makes its content of a part of a pinned Go module."""

    file: Path
    module: str
    part: str
    licence: str
    taken: Callable[[Path], Schema]

    @property
    def pinned(self) -> catalog.Module:
        return catalog.load().modules[self.module]

    @property
    def cached(self) -> Path:
        """Where the module lies on a machine that has built from it."""
        return CACHE / "go-mod" / f"{self.pinned.path}@{self.pinned.version}"

    def text(self, source: Path) -> str:
        """The file's content, made from the module's files: a definition a line."""
        origin = {"origin": f"{self.pinned.path}@{self.pinned.version}", "part": self.part, "licence": self.licence}
        content = {name: json.dumps(value) for name, value in origin.items()}
        for name, value in self.taken(source / self.part).items():
            lines = (f"  {json.dumps(key)}: {json.dumps(value[key], sort_keys=True)}" for key in sorted(value))
            content[name] = "{\n" + ",\n".join(lines) + "\n }"
        return "{\n" + ",\n".join(f" {json.dumps(name)}: {value}" for name, value in content.items()) + "\n}\n"

    def content(self) -> Schema:
        """What is in the repository."""
        return json.loads(self.file.read_text())


def _kubernetes(swagger: Path) -> Schema:
    """`kinds`: apps/v1/Deployment -> name of its definition, of all that the program may make; `definitions`."""
    definitions = json.loads(swagger.read_text())["definitions"]
    roots = dict(_roots(definitions))
    for name in roots.values():
        # Only the cluster writes it.
        definitions[name]["properties"].pop("status", None)
    reached = _reached(definitions, list(roots.values()))
    return {"kinds": roots, "definitions": {name: _rules(definitions[name]) for name in reached}}


def _snapshots(folder: Path) -> Schema:
    """`definitions`: the CustomResourceDefinitions as the program registers them, by their names."""
    chart = Artifact(kind="chart", version="", path=folder, digest=f"sha256:{'0' * 64}", size=0)
    made = snapshots.definitions(Index(artifacts={"snapshot-crds": chart}))
    return {"definitions": {one["metadata"]["name"]: _rules(one) for one in made}}


KUBERNETES: Final = Vendored(
    file=FOLDER / "kubernetes.json",
    module="kubernetes",
    part="api/openapi-spec/swagger.json",
    licence="Apache-2.0, The Kubernetes Authors",
    taken=_kubernetes,
)
SNAPSHOTS: Final = Vendored(
    file=FOLDER / "snapshots.json",
    module="snapshot-api",
    part="config/crd",
    licence="Apache-2.0, The Kubernetes Authors",
    taken=_snapshots,
)


def _roots(definitions: Schema) -> Iterator[tuple[str, str]]:
    wanted = {str(kind) for kind in kinds.TABLE.values()}
    for name, schema in definitions.items():
        for it in schema.get("x-kubernetes-group-version-kind", []):
            kind = str(kinds.Kind(group=it["group"], version=it["version"], name=it["kind"]))
            if kind in wanted:
                yield kind, name


def _reached(definitions: Schema, names: list[str]) -> set[str]:
    """These definitions, those that they refer to, and so on."""
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name not in seen:
            seen.add(name)
            names += _references(definitions[name])
    return seen


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for entry in schema:
            yield from _references(entry)
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for entry in schema.values():
            yield from _references(entry)


def _rules(schema: Any, names_follow: bool = False) -> Any:
    """Without prose. Below `properties` keys are names of fields, which may be called as prose is."""
    if isinstance(schema, list):
        return [_rules(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _rules(entry, names_follow=key == "properties" and not names_follow)
        for key, entry in schema.items()
        if names_follow or not (key in PROSE or key.startswith("x-kubernetes-"))
    }


if __name__ == "__main__":
    with tempfile.NamedTemporaryFile(prefix="isthmus-vendor-", suffix=".log") as log:
        for one in (KUBERNETES, SNAPSHOTS):
            one.file.write_text(one.text(golang.source(one.module, one.pinned, Path(log.name))))
