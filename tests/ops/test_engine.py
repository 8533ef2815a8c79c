"""What is read of a run of the engine that failed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ops import engine
from ops.console import Phases
from ops.engine import failed, first_error


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("  ~ Playbook onprem\n  error: no host\n  error: update failed\n", "error: no host"),
        (" error: 1 error occurred:\n  * onprem-2: full disk\n", "error: 1 error occurred: * onprem-2: full disk"),
        ("error: 1 error occurred:", "error: 1 error occurred: "),
        ("error: no host\nerror: no key\nerror: no host\nerror: update failed", "error: no host (the log has 1 more)"),
        ("all well\n", "see the log"),
    ],
)
def test_the_first_error_comes_with_its_cause(tmp_path: Path, log: str, said: str) -> None:
    path = tmp_path / "up.log"
    path.write_text(log)
    assert first_error(path) == said


def test_what_failed_is_told_by_its_urn_once_and_in_order() -> None:
    def error(urn: str | None) -> dict:
        return {"diagnosticEvent": {"severity": "error", "message": "no", **({"urn": urn} if urn else {})}}

    machine, stack = "urn:pulumi:lab::p::isthmus:lab:Machine::one", "urn:pulumi:lab::p::pulumi:pulumi:Stack::p-lab"
    events = [
        {"preludeEvent": {"config": {}}},
        {"diagnosticEvent": {"severity": "warning", "message": "slow", "urn": "urn:pulumi:lab::p::a:b:C::slow"}},
        error("urn:pulumi:lab::p::a:b:C::refused"),
        {"resOpFailedEvent": {"metadata": {"urn": machine, "op": "create"}}},
        error(machine),
        error(stack),
        error(None),
    ]
    cut_off = json.dumps(events[3])[:-9]
    assert failed([*map(json.dumps, events), cut_off]) == ["urn:pulumi:lab::p::a:b:C::refused", machine]


class Interrupted(Phases):
    """Somebody presses ^C when the first line is shown."""

    def step(self, text: str) -> None:
        if "error" in text:
            raise KeyboardInterrupt


@pytest.mark.parametrize("terminal", [True, False])
def test_an_interrupted_engine_is_told_once_and_heard_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    program = tmp_path / "pulumi"
    # In Python: a shell cannot catch a signal that was ignored when it started, as it is in a background job.
    program.write_text(
        f"#!{sys.executable}\n"
        "import signal, time\n"
        "told = []\n"
        "signal.alarm(20)\n"  # ends it if nobody reads what it says, and so the test
        "signal.signal(signal.SIGINT, lambda *_: (told.append(1), print('told by us', flush=True)))\n"
        "print('error: a warning', flush=True)\n"
        f"until = time.monotonic() + {0.5 if terminal else 30}\n"
        "while not told and time.monotonic() < until:\n"
        "    time.sleep(0.05)\n"
        "print('x' * 300000)\n"
        "print('the state is saved')\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(engine, "variables", lambda _: {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    monkeypatch.setattr(engine.os, "isatty", lambda _: terminal)
    log = tmp_path / "up.log"
    with pytest.raises(KeyboardInterrupt):
        engine.up("local", Interrupted(), log)
    said = log.read_text()
    assert said.count("told by us") == (0 if terminal else 1), "a terminal tells the engine itself"
    assert "the state is saved" in said
