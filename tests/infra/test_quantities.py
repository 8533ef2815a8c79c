"""Numbers as Kubernetes writes them: written otherwise, an object would differ from what its cluster holds."""

from __future__ import annotations

import pytest

from infra import quantities


@pytest.mark.parametrize(
    ("value", "text"),
    [(60, "60"), (2.5, "2500m"), (0.001, "1m"), (1000, "1k"), (1500, "1500"), (1_000_000, "1M"), (0.3, "300m")],
)
def test_a_number_is_written_in_its_shortest_exact_form(value: float, text: str) -> None:
    assert quantities.text(value) == text
    assert quantities.parse(text) == pytest.approx(value)
