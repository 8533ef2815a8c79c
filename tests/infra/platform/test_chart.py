"""Rendering: cached by its inputs, and honest about what helm says."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.artifacts import Artifact
from infra.platform import chart
from tests.infra import recording

FAKE = """#!/bin/sh
echo called >> "$(dirname "$0")/calls"
values=$(cat)
case "$values" in *wrong*) echo "Error: values don't meet the schema" >&2; exit 1;; esac
printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: c, namespace: %s}\\n' "${4#--namespace=}"
"""


@pytest.fixture
def helm(tmp_path: Path) -> Artifact:
    path = tmp_path / "helm"
    path.write_text(FAKE)
    path.chmod(0o755)
    return recording.file(path)


def render(helm: Artifact, tmp_path: Path, **values: str) -> list[chart.Manifest]:
    folder = recording.file(tmp_path / "a-chart")
    return chart.render(
        folder, helm, release="r", namespace="n", kubernetes_version="v1.37.2", values=values, cache=tmp_path / "cache"
    )


def test_helm_runs_once_for_the_same_inputs(helm: Artifact, tmp_path: Path) -> None:
    first = render(helm, tmp_path, a="1")
    assert (
        first
        == render(helm, tmp_path, a="1")
        == [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}}]
    )
    assert (tmp_path / "calls").read_text().count("called") == 1
    render(helm, tmp_path, a="2")
    assert (tmp_path / "calls").read_text().count("called") == 2, "another value must not be answered from the cache"


def test_a_refusal_is_told_in_helms_words_and_not_kept(helm: Artifact, tmp_path: Path) -> None:
    with pytest.raises(chart.ChartError, match="a-chart: Error: values don't meet the schema"):
        render(helm, tmp_path, a="wrong")
    assert not list(tmp_path.glob("cache/*"))
