"""The running environment as a client and as somebody with a hand on the power switch sees it."""

from __future__ import annotations

import functools
import os
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

from infra import addressing
from infra.cloud import lab_site
from infra.environment import Environment
from infra.paths import ROOT
from ops import cluster, machines, sites
from ops.up import load
from tests.e2e.both_sites import Champions, two_champions

ENVIRONMENT = os.environ.get("ISTHMUS_ENV", "local")
BOOT = ("power-off", "power-on", "reboot")
"""What is done to a machine's power so that, in the end, it boots."""
WHOLE_S = 240
ASKED_OF_CILIUM = (
    ("status", "--brief"),
    ("endpoint", "list"),
    ("bpf", "ipcache", "list"),
    ("shell", "--", "db/show", "backends"),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)
    # Of a cloud site or an autoscaler that an environment does not have there is nothing to ask; `make test ENV=` with
    # another runs them.
    settings = load(ENVIRONMENT)
    scales = settings.workloads.inference.autoscaling is not None
    there = dict.fromkeys(
        ("test_backups.py", "test_cloud.py", "test_link.py", "test_mesh.py"), "cloud" in sites.of(settings)
    )
    there["test_autoscaling.py"] = scales
    without = [item for item in items if item.path.parent == here and not there.get(item.path.name, True)]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]
    # The one that takes the environment down comes after those of other folders too: they would have none if it fails.
    items.sort(key=lambda item: item.path == here / "test_zz_lifecycle.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Shows with a failed test what the site was doing, which nobody can ask it later."""
    report = yield
    if report.failed and item.path.parent == Path(__file__).parent:
        report.sections.append(("the site at the time", _scene()))
    return report


def _scene() -> str:
    """Where pods are, the load balancers' last words, and what Cilium's agents make of the network."""
    said = ("journalctl", "-u", "haproxy", "-u", "keepalived", "--since", "-60s", "--no-pager", "-o", "short-precise")
    parts = [_told(lambda: cluster.kubectl(ENVIRONMENT, "get", "pods", "-A", "-o", "wide"))]
    for name in machines.statuses(ENVIRONMENT):
        parts += [f"--- {name}", _told(functools.partial(machines.run, name, *said))]
    agents = ("-n", "kube-system", "-l", "k8s-app=cilium")
    warned = ("logs", *agents, "--prefix", "--since=10m", "--tail=2000", "--max-log-requests=20")
    for pod in _listed(lambda: cluster.items(ENVIRONMENT, "pods", *agents)):
        inside = ("exec", "-n", "kube-system", pod["metadata"]["name"], "-c", "cilium-agent", "--", "cilium-dbg")
        parts.append(f"--- {pod['metadata']['name']} on {pod['spec'].get('nodeName')}")
        for question in ASKED_OF_CILIUM:
            parts.append(_told(functools.partial(cluster.kubectl, ENVIRONMENT, *inside, *question)))
    lines = _told(lambda: cluster.kubectl(ENVIRONMENT, *warned)).splitlines()
    parts += [line for line in lines if "level=warn" in line or "level=error" in line][-100:]
    return "\n".join(parts)


def _listed(ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The answer, or nothing."""
    try:
        return ask()
    except Exception:
        return []


def _told(ask: Callable[[], str]) -> str:
    """The answer, or why there is none: the test's own failure is what counts."""
    try:
        return ask()
    except Exception as fault:
        return repr(fault)


@pytest.fixture(scope="session")
def environment() -> str:
    return ENVIRONMENT


@pytest.fixture(scope="session")
def settings() -> Environment:
    return load(ENVIRONMENT)


@pytest.fixture(scope="session")
def ingress(settings: Environment) -> str:
    return addressing.ingress_url(settings.onprem.network)


@pytest.fixture(scope="session")
def cloud_ingress(settings: Environment) -> str:
    return addressing.ingress_url(sites.one(settings, "cloud").network)


@pytest.fixture(scope="session")
def aws(settings: Environment) -> Callable[[str], object]:
    """boto3's client of a service, at the lab's AWS API."""
    assert settings.cloud is not None
    return lambda service: boto3.client(
        service,
        endpoint_url=lab_site.aws_url(settings.cloud),
        region_name=settings.cloud.region,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
        config=Config(s3={"addressing_style": "path"}),
    )


@pytest.fixture(scope="session")
def champions(environment: str) -> Champions:
    return two_champions(environment)


def variables_for_make() -> dict[str, str]:
    """What a make below this one is to see: the `make test` around it would hand its own ARGS down."""
    theirs = ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES")
    return {**{name: value for name, value in os.environ.items() if name not in theirs}, "ENV": ENVIRONMENT}


@pytest.fixture
def make() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a make target as a person would and returns what it printed; fails the test when it fails."""
    settings = variables_for_make()

    def run(*args: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["make", *args], cwd=ROOT, env=settings, text=True, capture_output=True, check=False)
        if status is not None:
            assert done.returncode == status, f"make {' '.join(args)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    return run


@pytest.fixture
def power(environment: str, settings: Environment) -> Iterator[Callable[[str, str], None]]:
    """Does something to a machine's power; whatever a test did is put right after it, until its site is whole again."""
    touched: dict[str, str] = {}

    def act(name: str, action: str) -> None:
        touched[name] = action
        machines.power(environment, name, action)

    yield act
    for name, action in touched.items():
        if action == "power-off":
            machines.power(environment, name, "power-on")
        if action == "freeze":
            machines.power(environment, name, "thaw")
    for site, there in sites.of(settings).items():
        names = [host.name for host in there.hosts if host.name in touched]
        if names:
            booted = [name for name in names if touched[name] in BOOT]
            wait_until_whole(environment, settings, booted=booted, site=site)


def wait_until_whole(
    environment: str, settings: Environment, booted: Sequence[str] = (), site: str = "onprem"
) -> float:
    """Waits until every node and every pod is ready and the model answers; returns the seconds it took.

    Of machines that `booted` the API tells for a while what was true before: their containers must be newer than that.
    """
    url = f"{addressing.ingress_url(sites.one(settings, site).network)}/v2/health/ready"
    since = {name: int(machines.run(name, "stat", "--format=%Y", "/proc/1")) for name in booted}
    start, state = time.monotonic(), "nothing seen yet"
    while time.monotonic() - start < WHOLE_S:
        try:
            nodes = [
                n["metadata"]["name"] for n in cluster.items(environment, "nodes", site=site) if not cluster.ready(n)
            ]
            state = f"not ready: nodes {nodes}"
            if not nodes:
                pods = [
                    p["metadata"]["name"]
                    for p in cluster.items(environment, "pods", site=site)
                    if p["status"].get("phase") != "Succeeded"
                    and not (cluster.ready(p) and _started(p) >= since.get(p["spec"]["nodeName"], 0))
                ]
                if not pods and httpx.get(url, timeout=2).status_code == 200:
                    return time.monotonic() - start
                state = f"not ready: pods {pods}"
        except Exception as fault:
            state = repr(fault)
        time.sleep(2)  # who asks more often takes the processors from those who are waited for
    raise AssertionError(f"the site is not whole again after {WHOLE_S} s: {state}")


def _started(pod: dict[str, Any]) -> float:
    """When the first of a ready pod's containers was started, in seconds of Unix time."""
    states = [container["state"]["running"]["startedAt"] for container in pod["status"]["containerStatuses"]]
    return min(datetime.fromisoformat(state).timestamp() for state in states)
