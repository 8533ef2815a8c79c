"""Builds a program from crates.io: the crate is held to its sha256, its dependencies to the Cargo.lock inside it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from infra.paths import CACHE
from ops.mirror import toolchains, work
from ops.mirror.catalog import FromCrate
from ops.mirror.store import sha256

CARGO_HOME = CACHE / "cargo"


def build(recipe: FromCrate, version: str, out: Path, log: Path) -> Path:
    """Installs the crate's program into `out`, with the shared libraries that it was linked with beside it.

    The libraries make its image independent of the Debian (or other) release of the machine that compiled it.
    """
    target = CACHE / f"{recipe.crate}-target"
    for folder in (CARGO_HOME, target):
        folder.mkdir(parents=True, exist_ok=True)
    installed = out / "installed"
    command = ["cargo", "install", recipe.crate, "--version", version, "--locked", "--force", "--no-track"]
    command += ["--no-default-features", "--features", ",".join(recipe.features)]
    command += ["--bin", recipe.binary, "--root", str(installed), "--target-dir", str(target)]
    if toolchains.rust_version(recipe.rust)[1]:
        work.run(command, log=log, cwd=out, env={"CARGO_HOME": str(CARGO_HOME)})
        prefix: list[str | Path] = []
    else:
        root = toolchains.rust_root(log)
        # A mount namespace of its own: the binds vanish with the command, however it ends.
        binds = " && ".join(
            f"mkdir -p '{root}{path}' && mount --rbind '{path}' '{root}{path}'"
            for path in (CACHE, "/proc", "/dev", "/sys")
        )
        names = " && ".join(f"cp -L {path} '{root}{path}'" for path in ("/etc/resolv.conf", "/etc/hosts"))
        certificates = f"cp -L /etc/ssl/certs/ca-certificates.crt '{root}/etc/ssl/certs/'"
        inner = f"cd '{out}' && CARGO_HOME='{CARGO_HOME}' " + " ".join(f"'{part}'" for part in command)
        script = f'{binds} && {names} && {certificates} && exec chroot "{root}" /bin/sh -c "{inner}"'
        work.run(["unshare", "--mount", "--propagation", "private", "sh", "-ec", script], log=log)
        prefix = ["chroot", root]
    _hold_to_checksum(recipe, version)
    program = out / recipe.binary
    # A copy: cargo's file is a link into its target folder, which later builds write to.
    shutil.copyfile(installed / "bin" / recipe.binary, program)
    program.chmod(0o755)
    shutil.rmtree(installed)
    _collect_libraries(program, out / "lib", log, prefix)
    return program


def _hold_to_checksum(recipe: FromCrate, version: str) -> None:
    found = list((CARGO_HOME / "registry" / "cache").glob(f"*/{recipe.crate}-{version}.crate"))
    if not found:
        raise work.StepFailed(f"{recipe.crate}-{version}.crate is not in cargo's cache, so it cannot be checked")
    for crate in found:
        if sha256(crate) != recipe.sha256:
            raise work.StepFailed(
                f"checksum mismatch: {crate.name} is {sha256(crate)}, the catalog pins {recipe.sha256}",
                "find out why the registry gives another content before changing the pin",
            )


def _collect_libraries(program: Path, folder: Path, log: Path, prefix: list[str | Path]) -> None:
    """Copies what the program is linked with, below `folder` at the paths where it looks for them."""
    inside = Path("/tmp") / f"isthmus-{program.name}"
    root = Path(prefix[1]) if prefix else Path("/")
    probe = root / inside.relative_to("/")
    shutil.copy2(program, probe)
    try:
        told = work.read([*prefix, "ldd", inside], log=log)
    finally:
        probe.unlink()
    for path in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", told, re.M):
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile((root / path.lstrip("/")).resolve() if not prefix else root / path.lstrip("/"), target)
        target.chmod(0o755)
