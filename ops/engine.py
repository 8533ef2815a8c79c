"""The Pulumi engine as the commands use it: its settings, its stack, and its output as progress."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

from infra import settings
from infra.paths import BIN, CACHE, ROOT, state
from ops import backend
from ops.console import Failure, Phases

_RESOURCE_LINE = re.compile(r"^\s*([+~\-@>xi]{1,2}|\+-|\+\+|--)\s+(\S+:\S+)\s+(\S+)\s+(.*)$")
_ALWAYS = re.compile(r"error|warning|Diagnostics|stand-in", re.IGNORECASE)


def variables(environment: str) -> dict[str, str]:
    """What the engine, and a person's own `pulumi`, `kubectl` and `ansible`, need in their environment."""
    kept = backend.of(environment)
    return {
        "PATH": f"{ROOT / '.venv' / 'bin'}:{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PULUMI_HOME": str(CACHE / "pulumi"),
        "PULUMI_BACKEND_URL": kept.url,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # Not the usual four a processor: a Service that waits for its pods keeps its place, and on a small machine
        # enough of them leave none for the Deployments whose pods they wait for
        "PULUMI_PARALLEL": "32",
        # The whole state is written before and after each step, and the one before is copied: two megabytes with both
        # sites, a tenth of that compressed. The engine reads either
        "PULUMI_DIY_BACKEND_ZSTD": "true",
        "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
        **kept.variables,
    }


def pulumi(
    environment: str, *args: str, check: bool = True, extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the engine quietly and returns what it printed."""
    done = subprocess.run(
        ["pulumi", *args, "--non-interactive"],
        cwd=ROOT,
        env={**os.environ, **variables(environment), **(extra or {})},
        text=True,
        capture_output=True,
        check=False,
    )
    if check and done.returncode:
        raise Failure(
            f"pulumi {' '.join(args)} failed: {(done.stderr or done.stdout).strip()[-600:]}",
            fix="mend the cause that it names and run the same command again",
        )
    return done


def select_stack(environment: str) -> None:
    """Makes the environment's stack the current one, creating it on the first run."""
    provider = backend.of(environment).secrets_provider
    pulumi(environment, "stack", "select", "--create", "--secrets-provider", provider, environment)


def look_at_hosts() -> dict[str, str]:
    """Variables with which one engine run looks at the hosts in check mode, whatever the environment file says."""
    return {settings.HOSTS_VARIABLE: "1"}


def without_cloud() -> dict[str, str]:
    """Variables with which one engine run is of the on-prem site alone; the cloud half's resources stay as they are."""
    return {settings.ALONE_VARIABLE: "1"}


def settle(environment: str, phases: Phases) -> None:
    """Clears what a killed run left: the engine's lock, and operations whose end it never saw.

    The caller holds this environment's lock, so no other run of this checkout is alive. Every resource of ours takes
    over what it finds half made, so a create of unknown outcome is simply done again.
    """
    locks = state(environment) / "pulumi" / ".pulumi" / "locks"
    if any(path.is_file() for path in locks.rglob("*.json")):
        phases.step("an earlier run was killed: clearing its lock")
        pulumi(environment, "cancel", "--yes", "--stack", environment)
    snapshot = json.loads(pulumi(environment, "stack", "export").stdout)
    pending = (snapshot.get("deployment") or {}).pop("pending_operations", None) or []
    if not pending:
        return
    phases.step(f"an earlier run left {len(pending)} operations unfinished: they are done again")
    path = state(environment) / "settled.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(snapshot))
    try:
        pulumi(environment, "stack", "import", "--file", str(path))
    finally:
        path.unlink()


def up(
    environment: str, phases: Phases, log: Path, *, targets: Iterable[str] = (), extra: Mapping[str, str] | None = None
) -> list[str] | None:
    """Runs `pulumi up`, of `targets` alone if there are any; None when it is done.

    Otherwise the URNs of the resources that failed: none where the engine or the program itself did.
    """
    events = log.with_suffix(".events.json")
    arguments = ["up", "--yes", "--skip-preview", "--stack", environment, "--suppress-outputs"]
    arguments += [word for target in targets for word in ("--target", target)]
    events.unlink(missing_ok=True)
    try:
        # As Pulumi's own Automation API asks for events: the flag is there with that variable only.
        said = ["--event-log", str(events)]
        if not _drive(
            environment, [*arguments, *said], phases, log, {**(extra or {}), "PULUMI_DEBUG_COMMANDS": "true"}
        ):
            return None
        return failed(events.read_text().splitlines() if events.exists() else [])
    finally:
        events.unlink(missing_ok=True)


def failed(events: Iterable[str]) -> list[str]:
    """URNs of the resources of which the engine's events, a JSON a line, tell a failure or an error."""
    found: dict[str, None] = {}
    for line in events:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:  # the last one, of an engine that was ended in the middle of it
            continue
        if step := event.get("resOpFailedEvent"):
            found[step["metadata"]["urn"]] = None
        said = event.get("diagnosticEvent") or {}
        if said.get("severity") == "error" and said.get("urn"):
            found[said["urn"]] = None
    return [urn for urn in found if not is_stack(urn)]


def is_stack(urn: str) -> bool:
    """Whether it is the stack's own, which stands for the program and for all resources together."""
    return urn.split("::")[2] == "pulumi:pulumi:Stack"


def first_error(log: Path) -> str:
    """The first line in which the engine says what went wrong, with its first cause, and how many there are beside."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    found = [
        f"{line} {following}" if line.endswith("occurred:") else line
        for line, following in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith(("error:", "panic:")) and line != "error: update failed"
    ]
    if not found:
        return "see the log"
    others = len(set(found)) - 1
    return f"{found[0]} (the log has {others} more)" if others else found[0]


def _drive(environment: str, args: Iterable[str], phases: Phases, log: Path, extra: Mapping[str, str]) -> int:
    """Runs a long engine command, logs all it says, shows its resources as they finish; returns its status."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["pulumi", *args, "--non-interactive", "--color", "never"]
    with log.open("w") as sink:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            # It writes the whole state down before and after each resource. The garbage of that is collected a quarter
            # as often as usual; its memory then peaks at 270 MiB for the lab `local`
            env={**os.environ, **variables(environment), "GOGC": "400", **extra},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        interrupted = False
        # To the end in any case: the engine would wait for somebody who reads what it says.
        while not _followed(process, phases, sink):
            interrupted = True
            # A terminal has told the engine too, which ends at once, in the middle of its work, if it is told twice.
            if not os.isatty(0):
                process.send_signal(signal.SIGINT)
            phases.step("interrupted: the engine ends what it has begun and saves its state; once more ends it at once")
        status = process.wait()
    if interrupted:
        raise KeyboardInterrupt
    return status


def _followed(process: subprocess.Popen[str], phases: Phases, sink: TextIO) -> bool:
    """Notes all that the engine says and shows what is worth it; False if somebody interrupts that before its end."""
    assert process.stdout is not None
    try:
        for line in process.stdout:
            sink.write(line)
            sink.flush()
            if text := _worth_showing(line):
                phases.step(text)
    except KeyboardInterrupt:
        return False
    return True


def _worth_showing(line: str) -> str | None:
    """The part of an engine's line that a person wants to see while it works; None for the rest."""
    if match := _RESOURCE_LINE.match(line):
        sign, kind, name, rest = match.groups()
        return f"{sign} {kind.rsplit(':', 1)[-1]} {name} {rest.strip()}"
    return line.strip() if _ALWAYS.search(line) else None
