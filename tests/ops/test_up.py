"""What `make up` says of a run that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.up import first_error


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
