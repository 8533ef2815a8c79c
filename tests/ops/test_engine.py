"""What is read of a run of the engine that failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
    assert failed(map(json.dumps, events)) == ["urn:pulumi:lab::p::a:b:C::refused", machine]
