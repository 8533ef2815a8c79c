"""Which tests may run beside each other."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from infra.paths import ROOT


class OneBootsMachines(LoadFileScheduling):
    """A file's tests stay together (`--dist loadfile`), and those of all files that boot machines.

    Each of these has a podman of its own, which names a bridge after what it sees on the host: two that make a network
    at the same time give both bridges the same name, and the first that goes takes the other's with it.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "machines" if boots(file) else file


@functools.cache
def boots(file: str) -> bool:
    """Whether some of a file's tests boot machines."""
    return "pytest.mark.machine" in (ROOT / file).read_text()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneBootsMachines | None:
    """For what runs file by file; the rest is divided as xdist does."""
    return OneBootsMachines(config, log) if config.getvalue("dist") == "loadfile" else None
