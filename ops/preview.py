"""`make preview`: what `make up` would change, in the cloud, the cluster and, on request, on every host."""

from __future__ import annotations

import os
import subprocess

from infra import requested
from infra.paths import ROOT
from ops import backend, bootstrap, engine, lock
from ops.console import say
from ops.mirror import sync
from ops.up import load, prepare


def preview(environment: str, hosts: bool, args: list[str]) -> int:
    """Runs `pulumi preview`; `hosts` adds the check-mode diff of each host; returns the engine's status."""
    settings = load(environment)
    with lock.held(environment):
        bootstrap.ensure()
        sync.sync(also=requested.artifacts(settings), preview=True)
        prepare(environment)
        if settings.onprem.provisioner != "lab" and (missing := backend.stand_ins()):
            say(
                f"NOTE: previewed with stand-ins for {', '.join(missing)} and an empty state; no host or cloud is asked"
            )
        extra = engine.look_at_hosts() if hosts else {}
        command = ["pulumi", "preview", "--stack", environment, "--non-interactive", "--diff", *args]
        variables = {**os.environ, **engine.variables(environment), **extra}
        return subprocess.run(command, cwd=ROOT, env=variables, check=False).returncode
