"""Runs ansible-runner in a process of its own: `python -m infra.providers.isthmus.ansible_process <folder>`.

ansible-runner forks without exec (it gives ansible a terminal). In a process full of gRPC's threads such a fork crashes
now and then, before ansible has begun. Here there is one thread only.

Reads `<folder>/run.json`, a `Call`. Writes a line of JSON each to stdout: every event of ansible-runner, and at the end
`{"rc": <int or null>, "said": <str>}`, the exit status (null: ended by a signal) and the end of the output.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO, TypedDict

from ansible_runner.interface import init_runner
from ansible_runner.runner import Runner

_FROM_SHELL = ("HOME", "USER", "LOGNAME", "TMPDIR", "TERM", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""All that a run takes from the shell that started it: its result must not depend on who runs it, and passphrases in
the engine's environment are none of ansible's business."""

LAST_WORDS = 60


class Call(TypedDict):
    """What to run: paths, and the settings of ansible for this run as environment variables."""

    project: str
    playbook: str
    inventory: str
    check: bool
    variables: dict[str, str]


def play(folder: Path, out: TextIO) -> None:
    """Run the playbook of `<folder>/run.json`."""
    call: Call = json.loads((folder / "run.json").read_text())

    def emit(event: dict[str, Any]) -> bool:
        out.write(f"{json.dumps(event)}\n")
        out.flush()
        return False  # no copy on disk: events can hold what a task returned

    runner = init_runner(
        private_data_dir=str(folder),
        project_dir=call["project"],
        playbook=call["playbook"],
        inventory=call["inventory"],
        envvars=call["variables"],
        cmdline="--check --diff" if call["check"] else None,
        event_handler=emit,
        # Else ansible-runner takes over the signals of this process.
        cancel_callback=lambda: False,
        quiet=True,
    )
    runner.config.env = _environment(runner.config.env, call["variables"])
    # Ansible gets SIGTERM when this process dies: nothing works on unattended.
    runner.config.command = ["setpriv", "--pdeathsig", "TERM", "--", *runner.config.command]
    runner.run()
    emit({"rc": runner.rc, "said": _output(runner)})


def _output(runner: Runner) -> str:
    """For a run that says nothing in events, as when ansible cannot even start."""
    output = Path(runner.config.artifact_dir, "stdout")
    words = output.read_text(errors="replace").split() if output.exists() else []
    return " ".join(words[-LAST_WORDS:])


def _environment(prepared: dict[str, str], ours: dict[str, str]) -> dict[str, str]:
    """What ansible-runner added, our settings, and the few names that come from the shell."""
    added = {name: value for name, value in prepared.items() if os.environ.get(name) != value}
    added.pop("ORIGINAL_STDOUT_CALLBACK", None)
    shell = {name: value for name, value in os.environ.items() if name.upper() in _FROM_SHELL}
    return {**shell, **added, **ours}


if __name__ == "__main__":
    events = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # What a library prints goes where errors go, not between the events.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    play(Path(sys.argv[1]), events)
