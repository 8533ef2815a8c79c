"""Builds images with buildah, from nothing or from a Debian base, so that equal inputs give an equal digest."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

from infra.paths import CACHE, ROOT
from ops.mirror import golang, work
from ops.mirror.catalog import FromImage, FromWorkload, Module, Tree
from ops.mirror.plan import COMPRESSION, IN_ALL_WORKLOADS, NOT_IN_WORKLOADS
from ops.mirror.registry import split

# buildah's storage allows one build that imports a base at a time.
_bases = threading.Lock()


def buildah(*arguments: str | Path) -> list[str | Path]:
    """A buildah command on our own storage."""
    places: list[str | Path] = ["--root", CACHE / "buildah" / "storage", "--runroot", "/run/isthmus/buildah"]
    return ["buildah", *places, "--storage-driver", "overlay", *arguments]


def base(name: str, key: str, tar: Path, log: Path) -> None:
    """Makes a root filesystem available to Containerfiles as localhost/isthmus/<name>."""
    kept = f"localhost/isthmus/{name}"
    with _bases:
        images = work.read(buildah("images", "--format", "{{.Name}}:{{.Tag}}"), log=log).split()
        if f"{kept}:{key}" not in images:
            # ADD unpacks the tar as one layer, so images on one base share it.
            (tar.parent / "Containerfile").write_text(f"FROM scratch\nADD {tar.name} /\nENV PATH={PATH}\n")
            try:
                work.run(_bud(tar.parent, f"{kept}:{key}"), log=log)
            finally:
                (tar.parent / "Containerfile").unlink()
        work.run(buildah("tag", f"{kept}:{key}", f"{kept}:latest"), log=log)


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _bud(context: Path, tag: str, arguments: Mapping[str, str] | None = None) -> list[str | Path]:
    # --timestamp 0 fixes the times of files and of the image; no layers and no history of ours may differ.
    command = buildah("bud", "--timestamp", "0", "--layers=false", "--isolation", "chroot", "--format", "oci")
    command += ["--pull=never", "--identity-label=false", "--tag", tag]
    for key, value in (arguments or {}).items():
        command += ["--build-arg", f"{key}={value}"]
    return [*command, context]


def stage(
    recipe: FromImage, inputs: Mapping[str, Path], modules: Mapping[str, Module], context: Path, log: Path
) -> None:
    """Fills a build context: the recipe's folder, each input under its name, the trees of modules."""
    shutil.copytree(ROOT / recipe.folder, context, dirs_exist_ok=True)
    for name, path in inputs.items():
        folder = context / "inputs" / name
        shutil.copytree(path.parent, folder, copy_function=_link, ignore=shutil.ignore_patterns("meta.json"))
    _trees(recipe.trees, modules, context, log)
    _plain_modes(context)


def _trees(trees: Mapping[str, Tree], modules: Mapping[str, Module], context: Path, log: Path) -> None:
    for place, tree in trees.items():
        origin = golang.source(tree.module, modules[tree.module], log) / tree.path
        golang.copy_tree(origin, context / place, tree)


def stage_workload(recipe: FromWorkload, modules: Mapping[str, Module], context: Path, log: Path) -> None:
    """Fills a build context: the workload's files, the shared ones, trees of modules, locked dependencies as `site`."""
    shutil.copytree(ROOT / recipe.folder, context, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_IN_WORKLOADS))
    for shared in IN_ALL_WORKLOADS:
        shutil.copy2(ROOT / shared, context)
    _trees(recipe.trees, modules, context, log)
    _plain_modes(context)
    cache = {"UV_CACHE_DIR": str(CACHE / "uv-cache"), "UV_LINK_MODE": "hardlink"}
    requirements = context / "requirements.txt"
    export: list[str | Path] = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--project", context]
    work.run([work.uv(), *export, "--output-file", requirements], log=log, env=cache)
    install: list[str | Path] = [
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--no-deps",
        "--no-compile",
        "--only-binary",
        ":all:",
    ]
    install += ["--python", "/usr/bin/python3", "--python-version", "3.11", "--target", context / "site"]
    work.run([work.uv(), *install, "-r", requirements], log=log, env=cache)
    # What uv notes for itself (times, paths) is no part of the packages.
    for note in [*(context / "site").glob(".lock"), *(context / "site").rglob("uv_cache.json")]:
        note.unlink()


def build(context: Path, ref: str, registry: str, log: Path, arguments: Mapping[str, str] | None = None) -> str:
    """Builds a context, pushes it under its canonical name, and returns the manifest's digest."""
    repository, tag = split(ref)
    local = f"localhost/isthmus-build/{repository}:{tag}"
    work.run(_bud(context, local, arguments), log=log)
    try:
        return push(local, ref, registry, log)
    finally:
        work.run(buildah("rmi", "--force", local), log=log)


def push(local: str, ref: str, registry: str, log: Path) -> str:
    """Pushes a local image to the registry under its canonical name; returns the manifest's digest."""
    digest = log.with_suffix(".digest")
    command = buildah("push", "--quiet", "--tls-verify=false", "--digestfile", digest)
    command += ["--compression-format", COMPRESSION]
    work.run([*command, local, f"docker://{registry}/{ref}"], log=log, env={"NO_PROXY": "127.0.0.1"})
    value = digest.read_text().strip()
    digest.unlink()
    return value


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        shutil.copymode(source, target)
    return target


def _plain_modes(context: Path) -> None:
    """Files are 0644 or 0755, whatever the umask of who cloned the repository; links to artefacts stay as they are."""
    for path in context.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
        elif path.stat().st_nlink == 1:
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
