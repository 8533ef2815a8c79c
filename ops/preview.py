"""`make preview`: what `make up` would change, in the cloud, the cluster and, on request, on every host."""

from __future__ import annotations

import os
import subprocess

from infra.paths import ROOT
from ops import bootstrap, engine, lock
from ops.mirror import sync
from ops.up import load, prepare


def preview(environment: str, hosts: bool, args: list[str]) -> int:
    """Runs `pulumi preview`; `hosts` adds the check-mode diff of each host; returns the engine's status."""
    load(environment)
    with lock.held(environment):
        bootstrap.ensure()
        sync.sync()
        prepare(environment)
        extra = engine.look_at_hosts() if hosts else {}
        command = ["pulumi", "preview", "--stack", environment, "--non-interactive", "--diff", *args]
        settings = {**os.environ, **engine.variables(environment), **extra}
        return subprocess.run(command, cwd=ROOT, env=settings, check=False).returncode
