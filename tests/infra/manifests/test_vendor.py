"""What is written down of upstream's schemas is of the versions that the mirror is filled with."""

from __future__ import annotations

import pytest

from infra.providers.offline.kubernetes import kinds
from tests.infra.manifests.vendor import KUBERNETES, SNAPSHOTS, Vendored

BOTH = pytest.mark.parametrize("one", [KUBERNETES, SNAPSHOTS], ids=lambda one: one.file.name)
FIX = "run: python -m tests.infra.manifests.vendor"


@BOTH
def test_it_is_of_the_version_that_the_catalog_pins(one: Vendored) -> None:
    assert one.content()["origin"] == f"{one.pinned.path}@{one.pinned.version}", FIX


@BOTH
@pytest.mark.mirror
def test_it_says_what_the_module_says(one: Vendored) -> None:
    # A mirror that was filled from upstream's own images and binaries has no module to compare with.
    if not one.cached.exists():
        pytest.skip(f"{one.cached} is not here: this machine has built nothing from it")
    assert one.file.read_text() == one.text(one.cached), FIX


def test_every_kind_that_the_program_may_make_has_a_schema() -> None:
    assert KUBERNETES.content()["kinds"].keys() == {str(kind) for kind in kinds.TABLE.values()}, FIX
