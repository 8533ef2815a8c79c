"""`make check` and `make test`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from infra.paths import CACHE, ROOT
from ops import checked, cluster, engine, up
from ops.console import Failure, Phases

NEEDS_NOTHING = "not machine and not engine and not mirror and not apiserver and not lab and not e2e"

UNIT = ("-m", NEEDS_NOTHING, "-n", "2")
"""Tests that get in nobody's way, side by side."""

OF_THE_SITE = "lab or e2e"

THE_SITE = ("-m", f"({OF_THE_SITE}) and not rebuilds", "--durations=60")
"""Tests of the one running environment, one after the other; the last takes it down."""

THROWAWAY = ("-m", f"not ({NEEDS_NOTHING}) and not ({OF_THE_SITE})", "-n", "3", "--dist", "loadfile", "--durations=20")
"""Tests with engines, API servers and machines of their own, which are waited for more than they work: side by side
more than there are processors, of which the environment takes nothing then."""

REBUILT = ("-m", "rebuilds", "tests/e2e")
"""The test that builds the environment again."""

CHECKS = {
    "format": ["ruff", "format", "--check", "."],
    "lint": ["ruff", "check", "."],
    # What mypy learned of a file holds for the same file of any checkout: it goes by contents.
    "types": ["mypy", "--cache-dir", str(CACHE / "mypy"), "infra", "ops"],
    "yaml": ["yamllint", "--strict", "ansible", "environments", "mirror"],
    "ansible": ["ansible-lint", "--offline", "--profile", "production"],
    "unit tests": [sys.executable, "-m", "pytest", "-q", *UNIT],
}


def check() -> int:
    """Lint, types and unit tests: everything that needs no lab."""
    phases = Phases()
    tree = checked.tree()
    checked.remember(None)
    for name, command in CHECKS.items():
        with phases.phase(name):
            # ansible-lint finds our collection through the ansible.cfg of the folder that it runs in
            folder = ROOT / "ansible" if name == "ansible" else ROOT
            if subprocess.run(command, cwd=folder, check=False).returncode:
                raise Failure(f"make check: {name} found faults", fix="mend what is listed above")
    checked.remember(tree)
    print(phases.table())
    return 0


def test(environment: str, args: list[str]) -> int:
    """The tests against the running environment, which is brought up first if it is not, and all others.

    Unit tests are left out where `make check` has passed this very tree. Tests with machines of their own come while
    the environment is down, before the one that builds it again. `args` choose for themselves.
    """
    if not cluster.kubeconfig_file(environment).exists():
        up.up(environment)
    settings = {**os.environ, **engine.variables(environment), "ISTHMUS_ENV": environment}
    runs: list[Sequence[str]] = [args] if args else [UNIT, THE_SITE, THROWAWAY, REBUILT]
    if not args and checked.passed(checked.tree()):
        print("unit tests: `make check` passed them on this tree", flush=True)
        runs = runs[1:]
    return max(
        subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, env=settings, check=False).returncode
        for arguments in runs
    )
