"""`make env`: shell exports, so that a person's own kubectl, pulumi and ansible work on an environment and site."""

from __future__ import annotations

import shlex

from infra.paths import state
from ops import engine
from ops.console import Failure


def exports(environment: str, site: str) -> int:
    """Prints one `export` line a variable."""
    kubeconfig = state(environment) / f"kubeconfig-{site}.yaml"
    if not kubeconfig.exists():
        raise Failure(f"environment {environment} has no running site {site!r}", fix=f"make up ENV={environment}")
    for name, value in {**engine.variables(environment), "KUBECONFIG": str(kubeconfig)}.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0
