"""What the running cluster says of itself, read with kubectl; `site` is onprem or cloud."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from infra.paths import state
from ops import engine
from ops.console import Failure


def kubeconfig_file(environment: str, site: str = "onprem") -> Path:
    """The file that opens a site's cluster; it is there once the site is up."""
    return state(environment) / f"kubeconfig-{site}.yaml"


def kubectl(environment: str, *args: str, timeout: float = 20, site: str = "onprem") -> str:
    """Runs kubectl on a site of the environment and returns what it printed."""
    kubeconfig = kubeconfig_file(environment, site)
    if not kubeconfig.exists():
        raise Failure(f"site {site} of environment {environment} is not up", fix=f"make up ENV={environment}")
    settings = {**os.environ, **engine.variables(environment), "KUBECONFIG": str(kubeconfig)}
    try:
        done = subprocess.run(
            ["kubectl", *args], env=settings, text=True, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"kubectl {' '.join(args)}: no answer within {timeout} s", fix="make status") from None
    if done.returncode:
        raise Failure(f"kubectl {' '.join(args)}: {done.stderr.strip()}", fix="make status")
    return done.stdout


def items(environment: str, kind: str, *args: str, site: str = "onprem") -> list[dict[str, Any]]:
    """All objects of a kind, in all namespaces unless `args` narrow it."""
    return json.loads(kubectl(environment, "get", kind, *(args or ("-A",)), "-o", "json", site=site))["items"]


def ready(thing: dict[str, Any]) -> bool:
    """Whether the object's condition Ready is true."""
    conditions = thing.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
