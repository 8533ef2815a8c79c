"""The objects of every cluster of the reviewed environments."""

from __future__ import annotations

import pytest

from infra.platform.chart import Manifest
from tests.infra import program
from tests.infra.manifests import rendered

CLUSTERS = [(name, site) for name in program.ENVIRONMENTS for site in program.sites(name)]


def of(name: str, site: str) -> list[Manifest]:
    """Everything in the cluster of one site of an environment."""
    return rendered.manifests(program.of(name).resources, site)


@pytest.fixture(scope="session", params=CLUSTERS, ids="-".join)
def cluster(request: pytest.FixtureRequest) -> list[Manifest]:
    return of(*request.param)
