"""What the running cluster says of itself, read with kubectl."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from infra.paths import state
from ops import engine
from ops.console import Failure


def kubectl(environment: str, *args: str, timeout: float = 20) -> str:
    """Runs kubectl on the environment's on-prem site and returns what it printed."""
    kubeconfig = state(environment) / "kubeconfig-onprem.yaml"
    if not kubeconfig.exists():
        raise Failure(f"environment {environment} is not up", fix=f"make up ENV={environment}")
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


def items(environment: str, kind: str, *args: str) -> list[dict[str, Any]]:
    """All objects of a kind, in all namespaces unless `args` narrow it."""
    return json.loads(kubectl(environment, "get", kind, *(args or ("-A",)), "-o", "json"))["items"]


def ready(thing: dict[str, Any]) -> bool:
    """Whether the object's condition Ready is true."""
    conditions = thing.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
