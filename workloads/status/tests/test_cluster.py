"""What the lists of Kubernetes' API say of a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from isthmus_status import cluster, kubernetes, quantities


def requests(**spec: Any) -> dict[str, float]:
    return cluster.requests(kubernetes.PodSpec.model_validate(spec))


def asking(cpu: str, **more: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        ("250m", 0.25),
        ("8388608Ki", 2**33),
        ("512Mi", 2**29),
        ("1e3", 1000),
        ("100k", 1e5),
        ("1.5Gi", 1.5 * 2**30),
    ],
)
def test_a_quantity_is_read_as_kubernetes_means_it(text: str, number: float) -> None:
    assert quantities.parse(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "Mi", "1Xi", "1 Mi", "--1"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantities.parse(text)


def test_a_pod_counts_with_all_its_containers_and_its_overhead() -> None:
    assert requests(containers=[asking("1"), asking("500m"), {}], overhead={"cpu": "100m"}) == {"cpu": 1.6}


def test_a_container_that_runs_first_counts_only_where_it_asks_for_more() -> None:
    assert requests(containers=[asking("1")], initContainers=[asking("500m")]) == {"cpu": 1}
    assert requests(containers=[asking("1")], initContainers=[asking("3"), asking("2")]) == {"cpu": 3}


def test_a_sidecar_counts_beside_the_containers_and_beside_those_that_run_after_it() -> None:
    sidecar = asking("1", restartPolicy="Always")
    assert requests(containers=[asking("1")], initContainers=[sidecar]) == {"cpu": 2}
    assert requests(containers=[asking("1")], initContainers=[sidecar, asking("3")]) == {"cpu": 4}
    assert requests(containers=[asking("1")], initContainers=[asking("3"), sidecar]) == {"cpu": 3}


def test_what_a_pod_asks_for_as_a_whole_stands_for_its_containers() -> None:
    assert requests(containers=[asking("1")], resources={"requests": {"cpu": "4"}}) == {"cpu": 4}


def test_times_are_shown_in_the_unit_that_fits() -> None:
    assert [quantities.span(s) for s in (-3, 7.9, 300, 9000, 400000)] == ["0 s", "7 s", "5 min", "2 h", "4 d"]
    assert [quantities.cores(c) for c in (0, 0.25, 2, 10, 1.999)] == ["0", "0.25", "2", "10", "2"]
