"""Renders a pinned chart into plain objects with helm, as a pure function: same chart and values, same objects.

Nothing is installed by helm. Rendering is repeated for every preview, so its result is cached by its inputs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from infra.artifacts import Artifact
from infra.paths import CACHE

Manifest = dict[str, Any]


class ChartError(Exception):
    """Helm refused the chart or the values; the message is helm's."""


def render(
    chart: Artifact,
    helm: Artifact,
    *,
    release: str,
    namespace: str,
    kubernetes_version: str,
    values: Manifest,
    cache: Path = CACHE / "charts",
) -> list[Manifest]:
    """The chart's objects in a fixed order, without nulls."""
    inputs = [chart.digest, helm.digest, release, namespace, kubernetes_version, values]
    kept = cache / f"{hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    text = _template(helm.local, chart.local, release, namespace, kubernetes_version, values)
    manifests = parse(text)
    _write(kept, json.dumps(manifests))
    return manifests


def parse(text: str) -> list[Manifest]:
    """The objects in YAML documents, sorted by identity; keys without a value are left out, as the API does."""
    # libyaml's loader is ten times faster, and PyYAML always holds one of the two.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = (_without_nulls(one) for one in yaml.load_all(text, Loader=loader) if one)
    return sorted(documents, key=identity)


def identity(manifest: Manifest) -> tuple[str, str, str, str]:
    """What tells an object from all others: its API, kind, namespace (or nothing) and name."""
    metadata = manifest["metadata"]
    return manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _template(helm: Path, chart: Path, release: str, namespace: str, kubernetes_version: str, values: Manifest) -> str:
    command = [str(helm), "template", release, str(chart), f"--namespace={namespace}"]
    command += [f"--kube-version={kubernetes_version}", "--values=-"]
    with tempfile.TemporaryDirectory(prefix="isthmus-helm-") as home:
        # A home of its own: the user's plugins, repositories and cluster must not matter.
        places = {f"HELM_{what}_HOME": home for what in ("CACHE", "CONFIG", "DATA")}
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": home} | places
        result = subprocess.run(
            command, input=json.dumps(values), capture_output=True, text=True, env=environment, timeout=120, check=False
        )
    if result.returncode:
        raise ChartError(f"helm cannot render {chart.name}: {result.stderr.strip()}")
    return result.stdout


def _write(path: Path, text: str) -> None:
    """Whole or not at all: another checkout may read it at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(path)
