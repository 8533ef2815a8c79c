"""What a second site costs a fresh `make up`: both sites, made side by side, against the on-prem half alone.

Labs of its own, made and taken down in turns, with a filled mirror; so it runs only where no lab is up.
"""

from __future__ import annotations

import os
import time
from statistics import median

from ops import cluster
from ops.bench.repeat import seconds
from ops.console import Failure, say

ROUNDS = 3
ALONE, BOTH = "local", "hybrid"

SETTLE_S = 75.0
"""From a lab's end, written to disk, to the next one's start. For a minute ext4 gives out no inode that was in use (six
where that is not on disk yet), and looks at each of them again for every new file, of which images have thousands."""


def measure(_environment: str) -> dict[str, float]:
    """Seconds of a fresh `make up` of either environment, and how many times as long both sites take; medians."""
    for environment in (ALONE, BOTH):
        if cluster.kubeconfig_file(environment).exists():
            raise Failure(
                f"environment {environment} is up, and this benchmark makes labs of its own",
                fix=f"make down ENV={environment}",
            )
    rounds: list[dict[str, float]] = []
    for number in range(ROUNDS):
        # the one that comes second may find more in this machine's memory
        turn = (BOTH, ALONE) if number % 2 else (ALONE, BOTH)
        took = {environment: fresh(environment) for environment in turn}
        say(f"    {ALONE} {took[ALONE]:.1f} s, {BOTH} {took[BOTH]:.1f} s: {took[BOTH] / took[ALONE]:.2f} times")
        rounds.append(took)
    return {
        **{f"fresh up, {name}, s": median(took[name] for took in rounds) for name in (ALONE, BOTH)},
        f"{BOTH} / {ALONE}": median(took[BOTH] / took[ALONE] for took in rounds),
    }


def fresh(environment: str) -> float:
    """Seconds of a `make up` from nothing. Its lab is gone afterwards, also when it failed."""
    os.sync()
    time.sleep(SETTLE_S)
    try:
        return seconds("make", "up", f"ENV={environment}")
    finally:
        seconds("make", "down", f"ENV={environment}")
