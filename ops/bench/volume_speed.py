"""How fast a volume is written and read, beside the file system below it, and beside what that one lies in.

A lab's volumes are parts of one file system, the pool: what the driver adds is seen beside a file in the pool that is
in no volume. The pool lies in an image file, in a folder that every machine of the site sees: what that stand-in for a
site's storage costs is seen beside a file in the folder. All three files have the same size, and are written and read
by the same program (transfer.py), in a pod and on its host; with new files each time, and the first round warms up.
Rounds of the same thing differ by half, and a file leaves work behind for the next: so there are many, and the three
follow one another in each of the six orders equally often.

A write is over when its fsync is: everywhere the data is then on the same disk. Before a read, the file's pages are
dropped, and those of every file in the folder, the image among them: where the loop device does not go around memory
(it asks to), the volume's data would still be there one level below, and a plain file has no second level. Not
O_DIRECT: programs in pods seldom ask for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from pathlib import Path
from statistics import median

from infra.naming import LAB_NAS, LAB_POOL
from infra.providers.isthmus.handler import ResourceError
from ops import cluster, machines
from ops.bench import objects
from ops.bench.namespace import Namespace
from ops.console import Failure, say

ROUNDS, SECONDS, TIMEOUT_S = 12, 3.0, 300.0
MIB = 1 << 20
PROBE, SMALLEST, LARGEST = 128 * MIB, 128 * MIB, 1024 * MIB
"""Bytes of the first try and of the files. The pod may hold the largest in memory twice: as a file, and in the pool."""
PROGRAM = Path(__file__).with_name("transfer.py").read_text()
WAITS = "import signal; signal.pause()"
POD = "speed"
REFERENCE = f"{LAB_NAS}/{objects.NAMESPACE}"

Speeds = dict[str, float]
"""MiB a second: of write and of read."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """Where files are written; `run` runs the program there and returns what it prints."""

    name: str
    path: str
    run: Callable[..., str]


def measure(space: Namespace) -> dict[str, float]:
    """MiB a second of the three, and each as a share of the one below it."""
    run = partial(on_host, space.node)
    folder, pool = Side(name="folder", path=REFERENCE, run=run), Side(name="pool", path=in_pool(space.node), run=run)
    try:
        size = chosen(speed(folder.run("write", folder.path, str(PROBE))))
        # Room for a file, for one before it that the file system has not yet let go, and for its own books.
        space.create(objects.claim(POD, 3 * size))
        space.create(space.pod(POD, WAITS, claimed=POD))
        space.running(POD)
        volume = Side(name="volume", path=f"{objects.FOLDER}/file", run=partial(in_pod, space.environment))
        rounds: list[dict[str, Speeds]] = []
        orders = list(permutations((folder, pool, volume)))
        for number in range(ROUNDS + 1):
            turn = orders[number % len(orders)]
            found = {side.name: transfer(side, folder, size) for side in turn}
            if number:  # the first warms up
                rounds.append(found)
                for way in ("write", "read"):
                    each = ", ".join(f"{name} {one[way]:.0f} MiB/s" for name, one in sorted(found.items()))
                    say(f"    {way} {size // MIB} MiB: {each}")
        return {"file, MiB": size / MIB, **figures(rounds)}
    finally:
        _shell(space.node, "rm", "-f", folder.path, pool.path)


def in_pool(node: str) -> str:
    """A file of ours in the pool, as its host reaches it: nobody but the driver has it mounted."""
    driver = _shell(node, "pgrep", "--oldest", "--full", f"isthmus_csi .*--mount={LAB_POOL}").strip()
    return f"/proc/{driver}/root{LAB_POOL}/{objects.NAMESPACE}"


def transfer(side: Side, folder: Side, size: int) -> Speeds:
    """One file, written to the disk, forgotten on every level, and read."""
    written = speed(side.run("write", side.path, str(size)))
    folder.run("forget", LAB_NAS)
    return {"write": written, "read": speed(side.run("read", side.path, str(size)))}


def speed(printed: str) -> float:
    """MiB a second, from what the program printed."""
    found = json.loads(printed)
    return found["bytes"] / MIB / found["seconds"]


def chosen(mib_a_second: float) -> int:
    """Bytes of a file that takes a few seconds, in whole MiB and within what memory and disk can be asked for."""
    return min(max(int(mib_a_second * SECONDS) * MIB, SMALLEST), LARGEST)


def figures(rounds: list[dict[str, Speeds]]) -> dict[str, float]:
    """Medians over the rounds."""
    result: dict[str, float] = {}
    for way in ("write", "read"):
        for name in ("volume", "pool", "folder"):
            result[f"{way}, {name}, MiB/s"] = median(one[name][way] for one in rounds)
        for name, below in (("volume", "pool"), ("pool", "folder")):
            result[f"{way}, {name} / {below}"] = median(one[name][way] / one[below][way] for one in rounds)
    return result


def in_pod(environment: str, *arguments: str) -> str:
    """Runs the program in the pod."""
    command = ("exec", "-n", objects.NAMESPACE, POD, "--", objects.PYTHON, "-c", PROGRAM, *arguments)
    return cluster.kubectl(environment, *command, timeout=TIMEOUT_S)


def on_host(node: str, *arguments: str) -> str:
    """Runs the program on the lab machine of that name."""
    return _shell(node, "/usr/bin/python3", "-c", PROGRAM, *arguments)


def _shell(node: str, *command: str) -> str:
    try:
        return machines.run(node, *command, timeout_s=TIMEOUT_S)
    except ResourceError as fault:
        raise Failure(str(fault), fix="`make status` shows what the machine is doing") from None
