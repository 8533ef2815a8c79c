"""The running cluster, read through its API."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ENVIRONMENT = os.environ.get("ISTHMUS_ENV", "local")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def environment() -> str:
    return ENVIRONMENT
