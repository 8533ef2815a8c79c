"""What it costs to run a command on an environment that is as it should be."""

from __future__ import annotations

import subprocess
import time

from infra.paths import ROOT
from ops.console import Failure


def measure(environment: str) -> dict[str, float]:
    """Seconds of a second `make up` and of `make preview`, with nothing to change."""
    return {
        "second up, s": seconds("make", "up", f"ENV={environment}"),
        "preview, s": seconds("make", "preview", f"ENV={environment}", "ARGS=--expect-no-changes"),
    }


def seconds(*command: str) -> float:
    """What a command takes. Raises Failure if it fails."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    if done.returncode:
        raise Failure(f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}", fix="make up")
    return time.monotonic() - start
