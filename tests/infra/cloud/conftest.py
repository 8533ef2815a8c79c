"""The cloud half of every environment that has one, registered against mocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from infra import environment
from infra.cloud.cloud import Cloud, CloudArgs
from infra.environment import Environment
from infra.paths import ROOT
from tests.infra import recording
from tests.infra.recording import Options, Resource

ENVIRONMENTS = [
    loaded
    for path in sorted((ROOT / "environments").glob("*.yaml"))
    if not path.name.startswith("Pulumi.") and (loaded := environment.load(path)).cloud
]


@dataclass(frozen=True)
class Recorded:
    """What the cloud half of `environment` registers."""

    environment: Environment
    resources: list[Resource]
    options: dict[tuple[str, str], Options]

    def of(self, kind: str) -> list[Resource]:
        """Every resource of a type such as eks/cluster:Cluster."""
        return [one for one in self.resources if one.type == f"aws:{kind}"]

    def one(self, kind: str, name: str | None = None) -> Resource:
        """The only one of that type, or the only one of that name."""
        found = [one for one in self.of(kind) if name in (None, one.name)]
        assert len(found) == 1, f"{len(found)} of {kind} {name}"
        return found[0]


def register(one: Environment) -> Recorded:
    """Runs the components; nothing is asked of anybody."""
    return Recorded(one, *recording.record_options(lambda: Cloud("cloud", CloudArgs(environment=one))))


@pytest.fixture(scope="session", params=ENVIRONMENTS, ids=lambda one: one.name)
def cloud(request: pytest.FixtureRequest) -> Iterator[Recorded]:
    yield register(request.param)
