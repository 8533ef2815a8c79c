"""`make bench`: runs the benchmarks, writes .state/bench.json and prints a table."""

from __future__ import annotations

import json
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from infra.paths import STATE
from ops.bench import both_sites, idle, inference, install, join, platform_layer, repeat, volumes
from ops.console import Failure, say

Figures = dict[str, float]
BENCHMARKS: dict[str, Callable[[str], Figures]] = {
    "repeat": repeat.measure,
    "idle": idle.measure,
    "install": install.measure,
    "join": join.measure,
    "inference": lambda _environment: inference.measure(),
    "volumes": volumes.measure,
    "platform": platform_layer.measure,
    "sites": both_sites.measure,
}

WITHOUT_A_LAB = {"sites"}
"""Run by name alone: they need this machine without a lab, the others one that is up."""


def bench(environment: str, only: list[str]) -> int:
    """Runs all benchmarks of a lab, or those named; figures of those not run are kept from before."""
    if unknown := sorted(set(only) - set(BENCHMARKS)):
        raise Failure(f"no benchmark {', '.join(unknown)}", fix=f"there are {', '.join(BENCHMARKS)}")
    path = STATE / "bench.json"
    figures: dict[str, Figures] = json.loads(path.read_text()) if path.exists() else {}
    try:
        for name in only or [name for name in BENCHMARKS if name not in WITHOUT_A_LAB]:
            say(f"==> bench {name}")
            figures[name] = BENCHMARKS[name](environment)
            path.write_text(json.dumps(figures, indent=1))
    finally:
        show(figures)
    return 0


def show(figures: dict[str, Figures]) -> None:
    """The table of all figures that there are, also when one more could not be had."""
    table = Table("benchmark", "figure", "value")
    for name, values in figures.items():
        for figure, value in values.items():
            table.add_row(name, figure, f"{value:.3f}")
    Console().print(table)
