"""How long from a claim and its pod to the pod having written: beside the same pod with a volume of its node's own.

In turns, so that whatever else the machine does hits both; the first pair warms up. The pod says itself when its file
was on the disk. Lab machines, their pods and this program have one kernel and so one monotonic clock: no time is lost
to Kubernetes' telling, which is slower than what is measured.
"""

from __future__ import annotations

import time
from statistics import median

from ops.bench import objects
from ops.bench.namespace import Namespace
from ops.console import say

PAIRS = 7
SIZE = 64 << 20
PROGRAM = f"""
import os, time
file = os.open("{objects.FOLDER}/file", os.O_WRONLY | os.O_CREAT, 0o600)
os.write(file, bytes(4096))
os.fsync(file)
written = time.monotonic()
with open("/dev/termination-log", "w") as told:
    told.write(str(written))
"""


def measure(space: Namespace) -> dict[str, float]:
    """Seconds with and without a claim, and the first as a multiple of the second."""
    pairs: list[tuple[float, float]] = []
    for number in range(PAIRS + 1):
        turn = (True, False) if number % 2 else (False, True)
        took = {claimed: seconds(space, number, claimed=claimed) for claimed in turn}
        if number:  # the first warms up
            pairs.append((took[True], took[False]))
            say(f"    start: {took[True]:.2f} s with a volume, {took[False]:.2f} s without")
    return figures(pairs)


def seconds(space: Namespace, number: int, *, claimed: bool) -> float:
    """One pod, from its making until it has written; it is gone afterwards."""
    name = f"{'with' if claimed else 'without'}-{number}"
    pod = space.pod(name, PROGRAM, claimed=name if claimed else None)
    began = time.monotonic()
    if claimed:
        space.create(objects.claim(name, SIZE))
    space.create(pod)
    took = float(space.said(name)) - began
    space.clear()
    return took


def figures(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Medians of pairs (with a volume, without)."""
    return {
        "start with a volume, s": median(one for one, _ in pairs),
        "start without, s": median(other for _, other in pairs),
        "start, with / without": median(one / other for one, other in pairs),
    }
