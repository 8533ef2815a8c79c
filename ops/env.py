"""`make env`: shell exports, so that a person's own kubectl, pulumi and ansible work on an environment and site."""

from __future__ import annotations

import shlex

from ops import cluster, engine, sites
from ops.console import Failure
from ops.up import load


def exports(environment: str, site: str) -> int:
    """Prints one `export` line a variable."""
    sites.check(load(environment), site)
    kubeconfig = cluster.kubeconfig_file(environment, site)
    if not kubeconfig.exists():
        raise Failure(f"environment {environment} has no running site {site!r}", fix=f"make up ENV={environment}")
    for name, value in {**engine.variables(environment), "KUBECONFIG": str(kubeconfig)}.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0
