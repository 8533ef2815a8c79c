"""Runs the programs that builds consist of: output goes to a log, a failure is an exception with the telling line."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.paths import CACHE

_FIRST = re.compile(r"^(E:|error\b|fatal\b)", re.IGNORECASE)
_TELLING = re.compile(r"error|fatal|cannot|denied|refused|no such|not found|invalid|^E:", re.IGNORECASE)
HINTS = (
    (r"\b(403 Forbidden|410 Gone)\b", "the registry refuses this version for good: pin another one"),
    (
        r"checksum mismatch|SECURITY ERROR|do not match the hashes|hash mismatch",
        "what was downloaded is not what is pinned: find out why before going on",
    ),
    (r"no space left", "free some disk space, then run it again: finished artefacts are kept"),
    (
        r"timed? ?out|temporary failure|connection (refused|reset)|could not resolve",
        "check the network, then run it again",
    ),
    (r"killed|out of memory|cannot allocate", "the machine ran out of memory: run it again with --jobs 1"),
)


class StepFailed(Exception):
    """A build step that failed: the line that tells why, and what to do about it."""

    def __init__(
        self, what: str, fix: str = "read the log, mend the cause, run it again: it continues from here"
    ) -> None:
        super().__init__(what)
        self.fix = fix


def run(
    command: Sequence[str | Path], *, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Runs a program to its end. StepFailed carries the most telling line of its output."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as sink:
        sink.write(f"$ {' '.join(map(str, command))}\n")
        sink.flush()
        try:
            done = subprocess.run(
                [str(part) for part in command],
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except FileNotFoundError:
            raise StepFailed(f"{command[0]} is not installed", "run ops/bootstrap.sh, which installs it") from None
    if done.returncode:
        raise explain(f"{Path(command[0]).name} ended with {done.returncode}", log)


def read(
    command: Sequence[str | Path], *, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Runs a program and returns what it printed; its errors go to the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as sink:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
            check=False,
        )
        if done.returncode:
            sink.write(done.stdout)
    if done.returncode:
        raise explain(f"{Path(command[0]).name} ended with {done.returncode}", log)
    return done.stdout


def explain(what: str, log: Path) -> StepFailed:
    """The failure as its log tells it."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()[-60:]]
    output = [line for line in lines if not line.startswith("$")]
    telling = [line for line in output if _TELLING.search(line)]
    # Programs that give up say the cause first, and "it failed" last.
    plain = [line for line in output if _FIRST.search(line)]
    reason = f"{what}: {[*plain, *reversed(telling), *reversed(output), ''][0]}"[:300]
    for pattern, fix in HINTS:
        if re.search(pattern, "\n".join(output), re.IGNORECASE):
            return StepFailed(reason, fix)
    return StepFailed(reason)


def uv() -> Path:
    """The pinned uv that ops/bootstrap.sh puts into the cache."""
    return CACHE / "uv" / "bin" / "uv"
