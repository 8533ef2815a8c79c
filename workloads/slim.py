"""Takes out of an image's packages what is never opened there, and compiles the rest. Runs once, as the image is built.

Python rather than a shell: the base image has no other program. Arguments: the packages' folder, and what to remove in
it besides. The mirror lays it beside each workload's own files.
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import sys
from pathlib import Path

NEVER_OPENED = {"__pycache__", "tests"}  # bytecode of another place, and the packages' own tests
SOURCES = {".pyi", ".pyx", ".pxd", ".c", ".h", ".hpp", ".a"}


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def main(site: Path, patterns: list[str]) -> None:
    """Fails when a pattern finds nothing: then the packages have changed, and this list is out of date."""
    for pattern in patterns:
        found = list(site.glob(pattern))
        if not found:
            sys.exit(f"slim.py: there is no {pattern} in {site}")
        for path in found:
            remove(path)
    for path in sorted(site.rglob("*"), reverse=True):
        if path.exists() and (path.name in NEVER_OPENED or path.suffix in SOURCES):
            remove(path)
    # Unchecked: the sources can't change in an image, so their times and hashes need not be looked at.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(site.parent, quiet=1, workers=1, invalidation_mode=mode):
        sys.exit("slim.py: a module can't be compiled")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
