"""`make bench` keeps what was measured, also when one of the benchmarks cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.bench import __main__ as bench
from ops.console import Failure


def impossible(_environment: str) -> dict[str, float]:
    raise Failure("no volumes", fix="none")


@pytest.fixture(autouse=True)
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "STATE", tmp_path)
    monkeypatch.setattr(bench, "BENCHMARKS", {"fine": lambda _: {"ratio": 0.5}, "not": impossible})


def test_figures_are_kept_and_shown_when_the_next_benchmark_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bench.json").write_text(json.dumps({"before": {"s": 7}}))
    with pytest.raises(Failure, match="no volumes"):
        bench.bench("local", [])
    assert json.loads((tmp_path / "bench.json").read_text()) == {"before": {"s": 7}, "fine": {"ratio": 0.5}}
    shown = capsys.readouterr().out
    assert "7.000" in shown and "0.500" in shown


def test_an_unknown_benchmark_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(Failure, match="there are fine, not"):
        bench.bench("local", ["volume"])
