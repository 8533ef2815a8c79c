"""Writes, reads or forgets files, and prints what a transfer took. It runs where no package of ours is: in a pod and on
a lab machine, as `python -c`, so that both sides are moved by the same program.
"""

import json
import os
import sys
import time
from pathlib import Path

BLOCK = 1 << 20


def write(path: str, size: int) -> None:
    """A new file, in blocks, until it is on the disk."""
    Path(path).unlink(missing_ok=True)
    # Not zeros, which a file system may leave out; one block again and again, so that making it takes no time.
    block = os.urandom(BLOCK)
    left, start = size, time.monotonic()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    while left:
        left -= os.write(file, block[:left])
    os.fsync(file)
    told(size, start)


def read(path: str, size: int) -> None:
    """The whole file, of which this file system holds nothing in memory."""
    file = os.open(path, os.O_RDONLY)
    drop(file)
    buffer, done, start = bytearray(BLOCK), 0, time.monotonic()
    while count := os.readv(file, [buffer]):
        done += count
    if done != size:
        sys.exit(f"{path} has {done} bytes, not {size}")
    told(size, start)


def forget(folder: str) -> None:
    """Nothing of the files in a folder is held in memory any longer."""
    for path in Path(folder).iterdir():
        if path.is_file():
            drop(os.open(path, os.O_RDONLY))


def drop(file: int) -> None:
    """Only what is on the disk can be dropped, so it is brought there first."""
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def told(size: int, start: float) -> None:
    print(json.dumps({"bytes": size, "seconds": time.monotonic() - start}))


if __name__ == "__main__":
    action, path = sys.argv[1:3]
    if action == "forget":
        forget(path)
    else:
        {"write": write, "read": read}[action](path, int(sys.argv[3]))
