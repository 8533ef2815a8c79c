"""The machine image in podman's store: imported once for each digest."""

from __future__ import annotations

import threading
from pathlib import Path

from infra.providers.isthmus.handler import ResourceError
from infra.providers.isthmus.podman import Podman

REPOSITORY = "localhost/isthmus-machine"

# What the container of a machine runs, and how systemd is asked to power off.
CHANGES = ('CMD ["/lib/systemd/systemd"]', "STOPSIGNAL SIGRTMIN+3", "ENV container=podman")

_importing = threading.Lock()


def tag_of(digest: str) -> str:
    """The image's name for the digest of its tar."""
    return f"{REPOSITORY}:{digest.removeprefix('sha256:')[:12]}"


def ensure(podman: Podman, tar: str, digest: str) -> str:
    """Import the tar unless its digest is there already; returns the image's name.

    Machines are made side by side and need the same image, so one of them imports and the others wait.
    """
    tag = tag_of(digest)
    with _importing:
        if podman("images", "--quiet", tag).strip():
            return tag
        if not Path(tar).is_file():
            raise ResourceError(f"the machine image {tar} is missing; `make mirror ARGS=sync` builds it")
        changes = [flag for change in CHANGES for flag in ("--change", change)]
        podman("import", *changes, tar, tag, timeout_s=600)
    return tag
