"""Root filesystems from Debian packages, as tars whose content depends on the packages alone."""

from __future__ import annotations

from pathlib import Path

from infra.paths import ROOT
from ops.mirror import work
from ops.mirror.catalog import FromDebian

ARCHIVE = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
UNREAD = ("doc", "man", "locale", "info", "lintian", "bug", "doc-base")
"""Folders of /usr/share that nothing in a machine or container reads."""


def packages(folder: Path) -> list[str]:
    """The packages that packages.txt lists, one a line, `#` begins a comment."""
    lines = (line.split("#")[0].strip() for line in (folder / "packages.txt").read_text().splitlines())
    return [line for line in lines if line]


def build(recipe: FromDebian, out: Path, log: Path) -> Path:
    """Makes the tar; apt checks every package against the archive's signature."""
    folder = ROOT / recipe.folder
    tar = out / "rootfs.tar"
    command: list[str | Path] = ["mmdebstrap", "--mode=root", f"--variant={recipe.variant}", "--format=tar"]
    command.append(f"--include={','.join(packages(folder))}")
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in UNREAD]
    customize = folder / "customize.sh"
    if customize.exists():
        # Unpacked packages are never installed, so their hook is the one after unpacking.
        hook = "extract" if recipe.variant == "extract" else "customize"
        command.append(f'--{hook}-hook={customize} "$1"')
    suite = recipe.suite
    sources = [f"{ARCHIVE} {suite} main", f"{ARCHIVE} {suite}-updates main", f"{SECURITY} {suite}-security main"]
    command += [suite, tar, *(f"deb {source}" for source in sources)]
    work.run(command, log=log, env={"SOURCE_DATE_EPOCH": "0", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"})
    return tar
