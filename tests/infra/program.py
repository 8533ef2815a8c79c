"""The whole program, as the engine runs it, for an environment's file; each of the reviewed ones is run once."""

from __future__ import annotations

import contextlib
import functools
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pytest

from infra import alert_secrets, environment, settings
from infra.artifacts import Index
from infra.cloud import lab as cloud_lab
from infra.link import site_link
from infra.onprem import cluster, lab
from infra.paths import ROOT
from infra.platform import cilium
from infra.platform.csi import snapshots
from tests.infra import recording
from tests.infra.platform.conftest import CHART, CRDS
from tests.infra.recording import Resource

PROGRAM = ROOT / "infra"
ENVIRONMENTS = [path.stem for path in sorted((ROOT / "environments").glob("*.yaml")) if "." not in path.stem]
"""The reviewed ones."""


@dataclass(frozen=True)
class Run:
    """What a run registered and exported. It is shared: nobody changes it."""

    resources: list[Resource]
    exports: dict[str, object]


def file(name: str) -> Path:
    """The reviewed file of an environment."""
    return ROOT / "environments" / f"{name}.yaml"


def sites(name: str) -> list[str]:
    """The sites of one of the reviewed environments; each has a cluster."""
    return ["onprem", *(["cloud"] if environment.load(file(name)).cloud else [])]


@functools.cache
def of(name: str, *, preview: bool = False) -> Run:
    """The program's run for one of the reviewed environments."""
    return run(file(name), preview=preview)


def run(path: Path, *, preview: bool = False, index: Callable[[], Index] = recording.index) -> Run:
    """The program's run for any environment's file, in a checkout of its own; `index` says what the mirror holds."""
    exports: dict[str, object] = {}
    with _checkout(path, index) as patch:
        patch.setattr(pulumi, "export", exports.__setitem__)
        # it waits for an engine's answers, which mocks give at once
        patch.setattr(pulumi, "run", lambda _waits: None)
        resources, _ = recording.record_options(
            lambda: runpy.run_path(str(PROGRAM), run_name="__main__"), preview=preview
        )
    return Run(resources, exports)


@contextlib.contextmanager
def _checkout(path: Path, index: Callable[[], Index]) -> Iterator[pytest.MonkeyPatch]:
    """What `make up` has prepared before it starts the engine, and a mirror whose charts are small."""
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        folder = Path(made)
        for module in (settings, cluster, lab, cloud_lab, site_link):
            patch.setattr(module, "state", lambda name: folder / name)
        for module in (cluster, site_link):
            (folder / module.PLAYBOOK).write_text("- hosts: all\n")
            patch.setattr(module, "FOLDER", folder)
        patch.setattr(settings, "authorized_key", lambda _: "ssh-ed25519 AAAA me")
        patch.setattr(alert_secrets, "stored", lambda key: _urls(path)[key])
        patch.setattr(cilium, "objects", lambda *_: CHART)
        patch.setattr(snapshots, "definitions", lambda *_: CRDS)
        patch.setattr(Index, "load", index)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(settings, "environment_file", lambda _: path)
        yield patch


def _urls(path: Path) -> dict[str, str]:
    """What the stack's configuration has for each receiver; for a mail account it passes for a password."""
    monitoring = environment.load(path).platform.monitoring
    assert monitoring and monitoring.alerts
    return {
        str(one.secret_key): f"https://{one.way.host}:{one.way.port}/{recording.SECRET}"
        for one in monitoring.alerts.receivers
    }
