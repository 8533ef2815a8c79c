"""Under load there are more replicas, afterwards fewer, and nobody who asks notices either."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable
from types import TracebackType

import httpx
import numpy as np
import pytest

from infra.environment import Environment
from infra.naming import REQUESTS_METRIC
from infra.paths import state
from infra.platform.monitoring import custom_metrics
from ops import cluster, predict
from tests.cluster import scaling
from tests.e2e.polling import Poller

GROWS_S = 240.0
"""A reading of metrics, a decision each 15 s, and a replica's start, on a machine that has no core to spare."""

CLIENTS = 8
MANY = 900
"""Digits in a request that costs more of a processor than the target allows, at fewer requests than that allows."""


class Load:
    """Clients that ask for predictions of `rows` digits at once, until left.

    Together at most `rate` times a second: what they were late with they do not make up for.
    """

    def __init__(self, ingress: str, *, rows: int, rate: float) -> None:
        self.url = f"{ingress}/v2/models/digits/infer"
        self.interval = CLIENTS / rate
        samples, _ = predict.held_out()
        batch = np.resize(np.asarray(samples, dtype=np.float32), (rows, len(samples[0])))
        data = batch.ravel().tolist()
        inputs = [{"name": "image", "shape": list(batch.shape), "datatype": "FP32", "data": data}]
        self.body = json.dumps({"inputs": inputs}).encode()
        self.answers: list[float] = []
        self.faults: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        due = time.monotonic()
        with httpx.Client(timeout=15, headers={"Content-Type": "application/json"}) as client:
            while not self._stop.wait(due - time.monotonic()):
                due = max(due, time.monotonic()) + self.interval
                try:
                    status = client.post(self.url, content=self.body).status_code
                    fault = "" if status == 200 else str(status)
                except httpx.HTTPError as error:
                    fault = repr(error)
                with self._lock:
                    self.answers += [] if fault else [time.monotonic()]
                    self.faults += [fault] if fault else []

    def rate(self, seconds: float) -> float:
        """Answers a second, of the last so many seconds."""
        since = time.monotonic() - seconds
        return sum(answered > since for answered in list(self.answers)) / seconds


def replicas(environment: str) -> tuple[int, int]:
    """How many there are to be, and how many serve."""
    found = json.loads(cluster.kubectl(environment, "get", "deployment/inference", "-n", "workloads", "-o", "json"))
    return found["spec"]["replicas"], found["status"].get("readyReplicas", 0)


def wait(seconds: float, reached: Callable[[], bool], environment: str, otherwise: str) -> float:
    """Seconds until it is so."""
    start = time.monotonic()
    while not reached():
        if time.monotonic() - start > seconds:
            told = cluster.kubectl(environment, "describe", "hpa", "inference", "-n", "workloads")
            raise AssertionError(f"{otherwise} within {seconds:.0f} s:\n{told}")
        time.sleep(2)
    return time.monotonic() - start


class Seen:
    """The most that the autoscaler has seen of each metric, on average of the replicas, whenever it was looked at."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.most: dict[str, float] = {}

    def look(self) -> None:
        for name, value in scaling.averages(self.environment).items():
            self.most[name] = max(value, self.most.get(name, 0))

    def more_than(self, least: int) -> bool:
        """Whether more replicas serve; looks, too."""
        self.look()
        return replicas(self.environment)[1] > least


def test_replicas_follow_the_processors_and_a_second_up_leaves_their_number_alone(
    environment: str, settings: Environment, ingress: str, make: Callable[..., object]
) -> None:
    least, scaled = settings.workloads.inference.replicas, settings.workloads.inference.autoscaling
    assert scaled is not None
    if scaled.target_cpu is None:
        pytest.skip("the number follows requests alone")
    few = scaled.target_requests_per_second
    seen = Seen(environment)
    assert replicas(environment) == (least, least), "the site is not idle to begin with"
    with Poller(f"{ingress}/v2/health/ready", interval=0.1, timeout=10) as client:
        with Load(ingress, rows=MANY, rate=0.85 * few * least if few else math.inf) as load:
            grown = wait(GROWS_S, lambda: seen.more_than(least), environment, "no replica was added")
            make("up")
            wanted, _ = replicas(environment)
        log = (state(environment) / "logs" / "up.log").read_text()
        shrinks_s = scaled.shrink_after_seconds + 180
        shrunk = wait(
            shrinks_s, lambda: replicas(environment) == (least, least), environment, "replicas were not taken away"
        )
        time.sleep(10)  # the last of them drains
    print(
        f"more after {grown:.0f} s ({wanted} wanted), {least} again {shrunk:.0f} s after the load; "
        f"{len(load.answers)} batches answered; the poller's longest gap {client.longest:.2f} s, answers "
        f"{client.codes}; seen at most {seen.most}"
    )
    assert not re.findall(r"^\s+([~+-]|\+-) (\d+) (?:to )?\w+", log, re.MULTILINE), (
        f"it changed something: {log[-3000:]}"
    )
    assert least < wanted <= scaled.max_replicas, "`make up` and the autoscaler want different numbers"
    assert few is None or seen.most[REQUESTS_METRIC] < few, "so many requests would have brought the replicas, too"
    assert not load.faults, load.faults[:5]
    assert client.failed == 0


def test_replicas_follow_requests_that_cost_little(environment: str, settings: Environment, ingress: str) -> None:
    least, scaled = settings.workloads.inference.replicas, settings.workloads.inference.autoscaling
    assert scaled is not None
    if (target := scaled.target_requests_per_second) is None:
        pytest.skip("the number follows the processors alone")
    assert settings.platform.monitoring
    reading_s = settings.platform.monitoring.scrape_seconds
    window_s = custom_metrics.READINGS * reading_s
    seen = Seen(environment)
    assert replicas(environment) == (least, least), "the site is not idle to begin with"
    with Poller(f"{ingress}/v2/health/ready", interval=0.1, timeout=10) as client:
        with Load(ingress, rows=1, rate=1.7 * target * least) as load:
            begun = time.monotonic()
            # A rate knows of all of a load when it has lasted for its window.
            grown = wait(GROWS_S + window_s, lambda: seen.more_than(least), environment, "no replica was added")
            wanted, _ = replicas(environment)
            # Who has just come is read twice, and who was there all through the window.
            time.sleep(max(2 * reading_s, begun + window_s + reading_s - time.monotonic()))
            sent, told = load.rate(window_s), scaling.requests(environment)
            seen.look()
        shrinks_s = scaled.shrink_after_seconds + 180 + window_s
        shrunk = wait(
            shrinks_s, lambda: replicas(environment) == (least, least), environment, "replicas were not taken away"
        )
        # The poller goes on, ten times a second.
        idle = wait(
            window_s + 2 * reading_s,
            lambda: sum(scaling.requests(environment).values()) < 1,
            environment,
            "health checks count as requests",
        )
    print(
        f"more after {grown:.0f} s ({wanted} wanted), {least} again {shrunk:.0f} s after the load, no request told "
        f"{idle:.0f} s later; sent {sent:.1f} a second, told {sum(told.values()):.1f} of {told}; seen at most "
        f"{seen.most}; the poller's longest gap {client.longest:.2f} s, answers {client.codes}"
    )
    assert sent > 1.2 * target * least, "the clients were too slow to mean anything"
    assert 0.7 * sent <= sum(told.values()) <= 1.3 * sent
    assert least < wanted <= scaled.max_replicas
    if scaled.target_cpu is not None:
        assert 0 < seen.most["cpu"] < scaling.number(scaled.target_cpu), "the processors would have brought them, too"
    assert not load.faults, load.faults[:5]
    assert client.failed == 0
