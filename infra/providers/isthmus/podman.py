"""A thin wrapper over the podman command, with the flags that machines in containers need.

The lab has a store of its own, apart from what else podman does on this host. ISTHMUS_LAB moves it (the tests do).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.paths import CACHE
from infra.providers.isthmus.handler import ResourceError

RUN = Path("/run/isthmus")

CGROUP_PARENT = "isthmus"
"""All of the lab's cgroups lie below this one, so that `down` can tell them from others."""

STILL_DYING = "did not die within timeout"
"""What podman says of a container whose killed processes have not ended within its own five seconds."""

END_UNSEEN = "timed out waiting for file"
"""What podman says when the monitor of a container that it has killed did not tell in time how it ended."""

ALREADY_DEAD = "can only kill running containers"
"""What podman says when it is to kill a container that has ended; after END_UNSEEN that is what was wanted."""

REMOVE_S = 120
"""A machine has hundreds of processes with data to write back; on a busy host that takes longer than podman waits."""

# What podman says -> what to do about it.
HINTS = {
    "address already in use": "another program holds that address or port: find it with `ss -ltnp`, stop it, run again",
    "ip address already": "another container has that address: `make down`, or change it in the environment file",
    "no space left on device": "free some disk space, then run again",
    "operation not permitted": "the lab needs root that may make containers; a restricted container is no host",
    STILL_DYING: "the host is too busy, or a disk does not answer: see `dmesg`, then run again",
    "invalid tar header": "the machine image is damaged: `make mirror ARGS=verify` says how to have it anew",
    "iptables": "podman's network needs the iptables package: `apt-get install iptables`",
}


class PodmanError(ResourceError):
    """A podman command failed: which, why, and the likely fix. `said` is all that it printed."""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


@dataclass(frozen=True, kw_only=True)
class Podman:
    """One store. `root` keeps images and containers, `run` what does not outlive a restart of the host."""

    root: Path
    run: Path

    @classmethod
    def default(cls) -> Podman:
        """The store of all checkouts of this user: one lab at a time runs on a host, and labs must see each other."""
        if elsewhere := os.environ.get("ISTHMUS_LAB"):
            return cls(root=Path(elsewhere) / "podman", run=Path(elsewhere) / "run")
        return cls(root=CACHE / "podman", run=RUN)

    @property
    def networks(self) -> Path:
        """Where podman keeps the definitions of this store's networks."""
        return self.root / "networks"

    def command(self, *arguments: str) -> list[str]:
        """The full command line. Everything that a host's containers.conf could change is said here."""
        runtime = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--storage-driver", "overlay"]
        folders = [
            *("--root", str(self.root), "--runroot", str(self.run / "podman"), "--tmpdir", str(self.run / "libpod")),
            *("--network-config-dir", str(self.networks)),
        ]
        quiet = ["--network-backend", "netavark", "--events-backend", "none", "--log-level", "error"]
        return ["podman", *runtime, *folders, *quiet, *arguments]

    def __call__(self, *arguments: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run it and hand back stdout. Raises PodmanError."""
        if shutil.which("podman") is None:
            raise PodmanError("podman is not installed; run `make up`, which installs it, or `apt-get install podman`")
        for folder in (self.root, self.run, self.networks):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise PodmanError(
                f"`podman {_short(arguments)}` did not end within {timeout_s:.0f} s; is the host overloaded? Run again"
            ) from None
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise PodmanError(explain(arguments, said), said)
        return done.stdout

    def remove(self, *containers: str) -> None:
        """Kill containers and remove them with their volumes; one that is gone is left out. Raises PodmanError."""
        deadline = time.monotonic() + REMOVE_S
        while True:
            try:
                self("rm", "--force", "--ignore", "--time", "0", "--volumes", *containers, timeout_s=300)
            except PodmanError as error:
                if STILL_DYING not in error.said or time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                return

    def kill(self, container: str) -> None:
        """End all of a container's processes, as a power cut does. Raises PodmanError."""
        deadline = time.monotonic() + REMOVE_S
        told = False
        while True:
            try:
                self("kill", "--signal", "KILL", container)
            except PodmanError as error:
                if told and ALREADY_DEAD in error.said:
                    return
                if END_UNSEEN not in error.said or time.monotonic() > deadline:
                    raise
                told = True
                time.sleep(1)  # the signal is sent; the monitor tells when it gets a processor
            else:
                return

    def inspect(self, name: str) -> dict[str, Any] | None:
        """A container's description, or None when there is none."""
        found = self.containers(f"name=^{name}$")
        return json.loads(self("container", "inspect", found[0]["Id"]))[0] if found else None

    def containers(self, *filters: str) -> list[dict[str, Any]]:
        """All containers that pass every filter, running or not."""
        flags = [flag for text in filters for flag in ("--filter", text)]
        return json.loads(self("ps", "--all", "--format", "json", *flags) or "[]")

    def network(self, name: str) -> dict[str, Any] | None:
        """A network's description, or None when there is none."""
        return next((network for network in self.list_networks() if network["name"] == name), None)

    def list_networks(self) -> list[dict[str, Any]]:
        """The networks of this store, without podman's own default one."""
        names = self("network", "ls", "--quiet").split()
        wanted = [name for name in names if name != "podman"]
        return json.loads(self("network", "inspect", *wanted)) if wanted else []

    def execute(self, container: str, *command: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        """Run a command inside a container."""
        flags = ("--interactive",) if stdin is not None else ()
        return self("exec", *flags, container, *command, stdin=stdin, timeout_s=timeout_s)


def _short(arguments: tuple[str, ...]) -> str:
    """The command's verb and target: the flags between would hide them, and may not belong in a log."""
    return " ".join(arguments) if len(arguments) <= 4 else f"{arguments[0]} {arguments[1]} ... {arguments[-1]}"


def explain(arguments: tuple[str, ...], said: str) -> str:
    """One line from what podman printed: what failed, why, and the fix where it is known."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = lines[-1].removeprefix("Error: ") if lines else "it said nothing"
    hint = next((fix for sign, fix in HINTS.items() if sign in said.lower()), "")
    return f"`podman {_short(arguments)}` failed: {reason}" + (f". {hint}" if hint else "")
