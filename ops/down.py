"""`make down`: the lab goes, and leaves nothing behind on the machine that ran it."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from infra.paths import ROOT, state
from infra.providers.isthmus import lab
from ops import footprint, lock
from ops.console import Failure, Phases, say
from ops.up import load

MADE = ("pulumi", "machines", "nas", "ansible", "aws-api")
"""What of an environment's state goes with its lab; keys and logs stay."""

RELEASE_S = 300
"""The kernel ends the mounts of a container after its last process, and first writes what they had not written yet."""

PATIENCE_S = 5
"""Who waits longer than this is told what for."""


def down(environment: str, *, everyone: bool = False) -> int:
    """Removes machines, bridge, rules, cgroups and state; says what is left over, if anything."""
    if not everyone and load(environment).onprem.provisioner != "lab":
        raise Failure(
            f"{environment} is built on real hosts: `make down` takes down labs only",
            fix=f"`pulumi destroy --stack {environment}`, which asks first and keeps what is protected",
        )
    phases = Phases()
    with lock.held(environment):
        with phases.phase("lab"):
            left = lab.remove_lab(None if everyone else str(ROOT), None if everyone else environment)
        left += _released(state(environment) / "nas")
        left += footprint.leftovers(environment)
        folder = state(environment)
        for path in (*(folder / name for name in MADE), *folder.glob("kubeconfig-*")):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    if left:
        raise Failure(
            f"the lab is down, but the machine differs from before it: {'; '.join(left[:20])}",
            fix="if another program made these, all is well; if not, remove them by hand and report it",
        )
    say(f"{environment} is down; nothing is left behind")
    return 0


def _released(folder: Path) -> list[str]:
    """Waits until no loop device uses a file of the folder, which is about to be removed; those that still do."""
    start, told_why = time.monotonic(), False
    while True:
        # By the file itself: the path that a device tells is that of the machine which attached it.
        asked = [["losetup", "--noheadings", "--output", "NAME", "--associated", str(one)] for one in folder.rglob("*")]
        told = [subprocess.run(one, text=True, capture_output=True, check=True).stdout.split() for one in asked]
        devices = sorted({name for names in told for name in names})
        waited = time.monotonic() - start
        if not devices or waited > RELEASE_S:
            return [f"{device} still uses a file of {folder}" for device in devices]
        if waited > PATIENCE_S and not told_why:
            say(f"    waiting until the kernel lets go of {', '.join(devices)}, for at most {RELEASE_S} s")
            told_why = True
        time.sleep(0.1)
