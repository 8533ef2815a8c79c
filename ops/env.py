"""`make env`: shell exports, so that a person's own kubectl, pulumi and ansible work on an environment and site."""

from __future__ import annotations

import shlex
import sys

from ops import cluster, engine, sites
from ops.up import load


def exports(environment: str, site: str) -> int:
    """Prints one `export` line a variable; before the site is up all but KUBECONFIG.

    `pulumi config set` is called for before the first `make up`.
    """
    sites.check(load(environment), site)
    variables = engine.variables(environment)
    kubeconfig = cluster.kubeconfig_file(environment, site)
    if kubeconfig.exists():
        variables["KUBECONFIG"] = str(kubeconfig)
    else:
        # not on stdout, which a shell evaluates
        print(
            f"isthmus: environment {environment} has no running site {site!r}, so KUBECONFIG is left out: "
            f"make up ENV={environment}",
            file=sys.stderr,
        )
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0
