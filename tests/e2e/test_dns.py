"""A cluster whose DNS is away: its load balancers go on sending requests to the pods that they know."""

from __future__ import annotations

import os
import time
import warnings

from infra import addressing
from ops import cluster, machines
from tests.e2e.conftest import wait_until_whole
from tests.e2e.polling import Poller

AWAY_S = 10.0
TICKS = "cat $(printf '/proc/%s/stat ' $(pgrep -x haproxy)) | awk '{ spent += $14 + $15 } END { print spent }'"
"""The clock ticks that haproxy's processes have run for."""
CORES = 0.1
"""A load balancer that tries to reach the DNS without a pause takes half of one and more."""
BUSY_WITH = "echo 'show activity; show resolvers; show sess' | socat - UNIX-CONNECT:/run/haproxy-admin.sock"


def spent(host: str) -> float:
    """Seconds of a processor."""
    return int(machines.run(host, "sh", "-c", TICKS)) / os.sysconf("SC_CLK_TCK")


def taken(hosts: list[str], seconds: float) -> dict[str, float]:
    """Host -> cores that its haproxy takes in that time."""
    before, start = {host: spent(host) for host in hosts}, time.monotonic()
    time.sleep(seconds)
    return {host: (spent(host) - before[host]) / (time.monotonic() - start) for host in hosts}


def test_without_dns_load_balancers_serve(environment, settings) -> None:
    """One may be busy, which was seen once (docs/limits.md): it is asked, and tells with what."""
    hosts = [host.name for host in settings.onprem.having("load_balancer")]
    coredns = ("-n", "kube-system", "deployment/coredns")
    replicas = cluster.kubectl(environment, "get", *coredns, "-o", "jsonpath={.spec.replicas}")
    earlier = taken(hosts, 2.0)
    with Poller(
        f"{addressing.ingress_url(settings.onprem.network)}/v2/health/ready", interval=0.05, timeout=5
    ) as client:
        try:
            cluster.kubectl(environment, "scale", *coredns, "--replicas=0")
            cluster.kubectl(environment, "wait", "-n", "kube-system", "pod", "-l", "k8s-app=kube-dns", "--for=delete")
            time.sleep(2)
            cores = taken(hosts, AWAY_S)
            told = {host: machines.run(host, "sh", "-c", BUSY_WITH) for host in hosts if cores[host] >= CORES}
        finally:
            cluster.kubectl(environment, "scale", *coredns, f"--replicas={replicas}")
            wait_until_whole(environment, settings)
    for host, words in told.items():
        warnings.warn(
            f"haproxy on {host} took {cores[host]:.2f} cores without DNS, {earlier[host]:.2f} before:\n{words[:8000]}",
            stacklevel=1,
        )
    print(
        f"without DNS haproxy took {cores} cores, before {earlier}; longest gap {client.longest:.2f} s; "
        f"answers {client.codes}"
    )
    # without its way round each of them spins
    assert len(told) <= 1, cores
    assert client.answered > 0
    assert client.failed == 0
