"""Builds programs from pinned Go modules: one `go build` a module, so that packages they share are compiled once."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from infra.paths import ROOT
from ops.mirror import toolchains, work
from ops.mirror.catalog import FromCgo, GoProgram, Module, Tree

FLAGS = ("-trimpath", "-gcflags=all=-dwarf=false")
"""Of every build. The linker throws debug information away (`-s -w`); making it takes an eighth of a build's time."""


def output_name(package: str) -> str:
    """How `go build` names the program of a package: its last element that is no major version."""
    parts = package.split("/")
    return parts[-2] if re.fullmatch(r"v\d+", parts[-1]) else parts[-1]


def pins(name: str, module: Module) -> Path:
    """The folder with the go.mod and go.sum that pin a module and all that it needs."""
    return ROOT / "mirror" / "go" / (module.pins or name)


def build(name: str, module: Module, builds: Sequence[GoProgram], out: Path, log: Path) -> dict[str, Path]:
    """Builds packages of one module into a folder; returns each package's program. go checks every go.sum line."""
    command: list[str | Path] = [toolchains.go(log), "build", *FLAGS]
    if module.tags:
        command += ["-tags", ",".join(module.tags)]
    command += ["-ldflags", module.ldflags, "-o", f"{out}/"]
    command += sorted({build.package for build in builds})
    environment = toolchains.go_environment()
    if any(isinstance(build, FromCgo) for build in builds):
        environment["CGO_ENABLED"] = "1"
    work.run(command, log=log, cwd=pins(name, module), env=environment)
    return {build.package: out / output_name(build.package) for build in builds}


def source(name: str, module: Module, log: Path) -> Path:
    """The module's own files in the module cache, downloaded and checked against go.sum if need be."""
    command: list[str | Path] = [toolchains.go(log), "mod", "download", "-json", module.path]
    told = work.read(command, log=log, cwd=pins(name, module), env=toolchains.go_environment())
    return Path(json.loads(told)["Dir"])


def copy_tree(origin: Path, target: Path, tree: Tree | None = None) -> None:
    """Copies a file or folder of a module: readable by all, writable by the owner, without what the tree leaves out."""
    without = tree.without if tree else ()
    target.parent.mkdir(parents=True, exist_ok=True)
    if origin.is_file():
        shutil.copyfile(origin, target)
    else:
        shutil.copytree(
            origin, target, copy_function=shutil.copyfile, ignore=lambda _, names: set(without) & set(names)
        )
    for path in [target, *target.rglob("*")]:
        script = path.is_file() and path.open("rb").read(2) == b"#!"
        path.chmod(0o755 if path.is_dir() or script else 0o644)
