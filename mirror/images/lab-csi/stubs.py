"""Compiles protos, takes the compiler out of the image's packages, and compiles the rest. Runs once, as it is built.

Python rather than a shell: the base image has none. Arguments: the protos' folder, and the app's, with its packages.
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import sys
from pathlib import Path

ONLY_TO_BUILD = ("grpc_tools", "grpcio_tools-*", "setuptools*", "_distutils_hack", "distutils-precedence.pth")


def main(protos: Path, app: Path) -> None:
    """Fails when a proto or a module cannot be compiled."""
    site, stubs = app / "site", app / "stubs"
    sys.path.insert(0, str(site))
    from grpc_tools import protoc

    stubs.mkdir()
    folders = [f"-I{protos}", f"-I{site}/grpc_tools/_proto"]
    outputs = [f"--python_out={stubs}", f"--grpc_python_out={stubs}"]
    if protoc.main(["protoc", *folders, *outputs, *(path.name for path in sorted(protos.iterdir()))]):
        sys.exit("stubs.py: a proto cannot be compiled")
    for pattern in ONLY_TO_BUILD:
        for path in site.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    # Unchecked: the sources can't change in an image, so their times and hashes need not be looked at.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(app, quiet=1, workers=1, invalidation_mode=mode):
        sys.exit("stubs.py: a module can't be compiled")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
