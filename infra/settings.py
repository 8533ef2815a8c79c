"""What a run of the program is told from outside the environment file: its stack, and what to do this one time."""

from __future__ import annotations

import os
from pathlib import Path

from infra.paths import ROOT, state

HOSTS_VARIABLE = "ISTHMUS_HOSTS"
ALONE_VARIABLE = "ISTHMUS_ONPREM_ALONE"


class NotSetUp(Exception):
    """This checkout lacks what `make up` makes; the message ends with the fix."""


def environment_file(stack: str) -> Path:
    """The reviewed file of a stack: one environment, one stack, one name."""
    return ROOT / "environments" / f"{stack}.yaml"


def hosts_asked_for() -> bool:
    """Whether this one run shall look at the hosts (`HOSTS=1`), whatever the environment file says."""
    return os.environ.get(HOSTS_VARIABLE) == "1"


def onprem_alone() -> bool:
    """Whether this one run is of the on-prem site without the cloud half, which failed in the run before."""
    return os.environ.get(ALONE_VARIABLE) == "1"


def private_key(environment: str) -> Path:
    """The key with which Ansible reaches the hosts; `make up` makes it, and real hosts must trust it."""
    return state(environment) / "ssh" / "id_ed25519"


def authorized_key_file(environment: str) -> Path:
    """The public half of that key."""
    return private_key(environment).with_suffix(".pub")


def authorized_key(environment: str) -> str:
    """The public half as text, which lab machines are given."""
    path = authorized_key_file(environment)
    if not path.exists():
        raise NotSetUp(f"{path} is missing; run: make up ENV={environment}")
    return path.read_text(encoding="utf-8").strip()
