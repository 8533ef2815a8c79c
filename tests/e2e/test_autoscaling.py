"""Under load there are more replicas, afterwards fewer, and nobody who asks notices either."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from types import TracebackType

import httpx
import numpy as np

from infra.environment import Environment
from infra.paths import state
from ops import cluster, predict
from tests.e2e.polling import Poller

GROWS_S = 240.0
"""A reading of metrics, a decision each 15 s, and a replica's start, on a machine that has no core to spare."""

CLIENTS = 6
ROWS = 256


class Load:
    """Clients that ask for predictions of many digits at once, as fast as they are answered, until left."""

    def __init__(self, ingress: str) -> None:
        self.url = f"{ingress}/v2/models/digits/infer"
        samples, _ = predict.held_out()
        batch = np.resize(np.asarray(samples, dtype=np.float32), (ROWS, len(samples[0])))
        data = batch.ravel().tolist()
        inputs = [{"name": "image", "shape": list(batch.shape), "datatype": "FP32", "data": data}]
        self.body = json.dumps({"inputs": inputs}).encode()
        self.answered = 0
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
        with httpx.Client(timeout=15, headers={"Content-Type": "application/json"}) as client:
            while not self._stop.is_set():
                try:
                    status = client.post(self.url, content=self.body).status_code
                    fault = "" if status == 200 else str(status)
                except httpx.HTTPError as error:
                    fault = repr(error)
                with self._lock:
                    self.answered += not fault
                    self.faults += [fault] if fault else []


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


def test_replicas_follow_the_load_and_a_second_up_leaves_their_number_alone(
    environment: str, settings: Environment, ingress: str, make: Callable[..., object]
) -> None:
    least, scaling = settings.workloads.inference.replicas, settings.workloads.inference.autoscaling
    assert scaling is not None
    assert replicas(environment) == (least, least), "the site is not idle to begin with"
    with Poller(f"{ingress}/v2/health/ready", interval=0.1, timeout=10) as client:
        with Load(ingress) as load:
            grown = wait(GROWS_S, lambda: replicas(environment)[1] > least, environment, "no replica was added")
            make("up")
            wanted, _ = replicas(environment)
        log = (state(environment) / "logs" / "up.log").read_text()
        shrinks_s = scaling.shrink_after_seconds + 180
        shrunk = wait(
            shrinks_s, lambda: replicas(environment) == (least, least), environment, "replicas were not taken away"
        )
        time.sleep(10)  # the last of them drains
    print(
        f"more after {grown:.0f} s ({wanted} wanted), {least} again {shrunk:.0f} s after the load; "
        f"{load.answered} batches answered; the poller's longest gap {client.longest:.2f} s, answers {client.codes}"
    )
    assert not re.findall(r"^\s+([~+-]|\+-) (\d+) (?:to )?\w+", log, re.MULTILINE), (
        f"it changed something: {log[-3000:]}"
    )
    assert least < wanted <= scaling.max_replicas, "`make up` and the autoscaler want different numbers"
    assert not load.faults, load.faults[:5]
    assert client.failed == 0
