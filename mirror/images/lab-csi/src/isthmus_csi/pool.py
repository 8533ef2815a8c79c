"""The pool: one image file in the folder that every host mounts, and its mount in this process's container.

The kernel has one loop device for the image however many hosts mount it, because each attach looks for the file's own
first, under a lock. The device detaches itself with the last mount: a host that loses power leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isthmus_csi import btrfs

logger = logging.getLogger("isthmus.csi")

LOOP_CTL_GET_FREE = 0x4C82


@dataclass(frozen=True, kw_only=True)
class Pool:
    """`folder` is shared by all hosts and holds the image; `mount` is where this process sees its content."""

    folder: Path
    mount: Path
    capacity: int
    """Bytes of the image, which is sparse: what is not written takes no room. A smaller number promises less."""

    @property
    def image(self) -> Path:
        return self.folder / "pool.btrfs"

    @property
    def volumes(self) -> Path:
        return self.mount / "volumes"

    @property
    def snapshots(self) -> Path:
        return self.mount / "snapshots"

    @property
    def records(self) -> Path:
        return self.mount / "records"

    @property
    def open(self) -> bool:
        """Whether its content is seen here."""
        return mounted(self.mount) and self.records.is_dir()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One change at a time, on whichever host: held by this process alone, and by none that has died."""
        with (self.folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def attach(self) -> None:
        """Mount it here; the first process of a lab makes it. Raises btrfs.Failed."""
        with self.locked():
            if not self.image.exists():
                logger.info("making the pool, %d bytes", self.capacity)
                unfinished = self.image.with_suffix(".new")
                unfinished.unlink(missing_ok=True)
                with unfinished.open("wb") as file:
                    file.truncate(self.capacity)
                btrfs.make_file_system(unfinished)
                unfinished.rename(self.image)
            self.mount.mkdir(parents=True, exist_ok=True)
            if not mounted(self.mount):
                _loop_nodes()
                btrfs.run("mount", "-t", "btrfs", "-o", "loop,noatime", self.image, self.mount)
                self._go_around_memory()
            if self.image.stat().st_size < self.capacity:
                self._grow()
            if not self.records.is_dir():
                btrfs.enable_quota(self.mount)
                for folder in (self.volumes, self.snapshots, self.records):
                    folder.mkdir(exist_ok=True, mode=0o700)

    def _go_around_memory(self) -> None:
        """What volumes hold in memory the image need not hold too: a write is copied once, and synced sooner."""
        try:
            btrfs.run("losetup", "--direct-io=on", sources()[str(self.mount.resolve())])
        except btrfs.Failed as fault:
            logger.warning("the pool's data is in memory twice, where the folder's file system wants that: %s", fault)

    def _grow(self) -> None:
        """Give the pool the bytes that the environment says now, in use; it never shrinks."""
        logger.info("the pool grows to %d bytes", self.capacity)
        os.truncate(self.image, self.capacity)
        btrfs.run("losetup", "--set-capacity", sources()[str(self.mount.resolve())])
        btrfs.run("btrfs", "filesystem", "resize", "max", self.mount)


def sources() -> dict[str, str]:
    """What is mounted where; bind mounts, which a device number does not tell, are among them."""
    lines = (line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return {_plain(words[4]): _plain(words[words.index("-") + 2]) for words in lines}


def _plain(text: str) -> str:
    """The kernel writes blanks of names as octal numbers."""
    return re.sub(r"\\(\d{3})", lambda digits: chr(int(digits[1], 8)), text)


def mounted(path: Path) -> bool:
    """Whether something is mounted there."""
    return str(path.resolve()) in sources()


def _loop_nodes() -> None:
    """The device file of every loop device: a container has those that its host had when it started.

    With one missing, the image's own device might not be found, and a second one be attached. The kernel would refuse
    to mount that: it knows the file system by its id.
    """
    with Path("/dev/loop-control").open("rb") as control:
        fcntl.ioctl(control, LOOP_CTL_GET_FREE)  # makes one more if none is free
    for device in Path("/sys/block").glob("loop*"):
        node = Path("/dev", device.name)
        if not node.exists():
            major, _, minor = (device / "dev").read_text().strip().partition(":")
            os.mknod(node, 0o600 | stat.S_IFBLK, os.makedev(int(major), int(minor)))
