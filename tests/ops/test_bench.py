"""`make bench` keeps what was measured, also when one of the benchmarks cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops import cluster
from ops.bench import __main__ as bench
from ops.bench import both_sites
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


def test_what_needs_a_machine_without_a_lab_runs_by_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmarks = {"fine": lambda _: {"ratio": 0.5}, "sites": impossible}
    monkeypatch.setattr(bench, "BENCHMARKS", benchmarks)
    bench.bench("local", [])
    assert json.loads((tmp_path / "bench.json").read_text()) == {"fine": {"ratio": 0.5}}
    with pytest.raises(Failure, match="no volumes"):
        bench.bench("local", ["sites"])


def test_both_sites_are_measured_in_turns_and_by_round(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    took = iter([100.0, 150.0, 320.0, 200.0, 100.0, 140.0])  # of the rounds, 1.5, 1.6 and 1.4 times
    ran: list[str] = []

    def seconds(_make: str, what: str, environment: str) -> float:
        ran.append(f"{what} {environment}")
        return next(took) if what == "up" else 1.0

    monkeypatch.setattr(both_sites, "seconds", seconds)
    monkeypatch.setattr(both_sites, "SETTLE_S", 0)
    monkeypatch.setattr(cluster, "kubeconfig_file", lambda name: tmp_path / name)
    found = both_sites.measure("local")
    up, down = ran[::2], ran[1::2]
    assert [line.replace("up", "down") for line in up] == down, "one lab at a time"
    assert up[:4] == ["up ENV=local", "up ENV=hybrid", "up ENV=hybrid", "up ENV=local"]
    assert found == {"fresh up, local, s": 100.0, "fresh up, hybrid, s": 150.0, "hybrid / local": 1.5}


def test_both_sites_are_not_measured_beside_a_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hybrid").touch()
    monkeypatch.setattr(cluster, "kubeconfig_file", lambda name: tmp_path / name)
    with pytest.raises(Failure, match="environment hybrid is up") as refused:
        both_sites.measure("local")
    assert refused.value.fix == "make down ENV=hybrid"


def test_a_lab_that_failed_is_taken_down(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def seconds(_make: str, what: str, _environment: str) -> float:
        ran.append(what)
        if what == "up":
            raise Failure("no", fix="none")
        return 1.0

    monkeypatch.setattr(both_sites, "seconds", seconds)
    monkeypatch.setattr(both_sites, "SETTLE_S", 0)
    with pytest.raises(Failure, match="no"):
        both_sites.fresh("hybrid")
    assert ran == ["up", "down"]
