"""Services, as a host knows them whose Cilium agent could not reach the API for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infra import addressing
from infra.environment import SiteNetwork
from ops import cluster, machines
from tests.e2e.addresses import holder
from tests.e2e.both_sites import wait_for
from tests.e2e.conftest import wait_until_whole

CONNECTIONS = 30
"""To a Service, one after the other. With one address among three that nobody has, ten of them come to nothing."""
CONNECT = f'for i in $(seq {CONNECTIONS}); do timeout 1 bash -c "</dev/tcp/$0/53" || exit 0; done; echo all'


def agents(environment: str, host: str) -> list[dict[str, Any]]:
    """The pods of Cilium's agent on a host: one, but while it is replaced."""
    pods = cluster.items(environment, "pods", "-n", "kube-system", "-l", "k8s-app=cilium")
    return [pod for pod in pods if pod["spec"].get("nodeName") == host]


def renew_agent(environment: str, host: str) -> None:
    """Replaces the host's agent by one that has just started."""
    (before,) = [pod["metadata"] for pod in agents(environment, host)]
    cluster.kubectl(environment, "delete", "pod", "-n", "kube-system", before["name"], timeout=90)

    def renewed() -> bool:
        now = agents(environment, host)
        return len(now) == 1 and now[0]["metadata"]["uid"] != before["uid"] and cluster.ready(now[0])

    wait_for(f"a new agent on {host}", renewed, 120)


def addresses(environment: str) -> set[str]:
    """Of CoreDNS' pods, as the API knows them."""
    of_it = ("-n", "kube-system", "-l", "kubernetes.io/service-name=kube-dns")
    slices = cluster.items(environment, "endpointslices", *of_it)
    return {address for one in slices for endpoint in one["endpoints"] or [] for address in endpoint["addresses"]}


@contextmanager
def api_out_of_reach(network: SiteNetwork, host: str) -> Iterator[None]:
    """Resets the host's connections to the API's floating address; to new ones it hears that there is no way."""
    rule = f"add rule inet without-api output ip daddr {network.api_address} tcp dport {network.api_port}"
    rules = (
        "add table inet without-api",
        "add chain inet without-api output { type filter hook output priority -300; }",
        f"{rule} tcp flags & (syn | ack) == syn reject with icmp type host-unreachable",
        f"{rule} reject with tcp reset",
    )
    connected = f"ss -Htn state established dst {network.api_address}:{network.api_port}"
    machines.run(host, "nft", "; ".join(rules))
    try:
        # One is reset when something is sent over it: a watch that nothing happens to lasts until it is probed.
        wait_for(f"no connection of {host} to the API", lambda: not machines.run(host, "sh", "-c", connected).strip())
        yield
    finally:
        machines.run(host, "nft", "delete", "table", "inet", "without-api")


def test_an_agent_that_was_without_the_api_forgets_the_pods_that_went_meanwhile(environment, settings) -> None:
    """Cilium 1.19.1 kept them: on such a host every third connection to the DNS came to nothing, for good."""
    network = settings.onprem.network
    api = holder(settings, str(network.api_address))
    host = next(one.name for one in settings.onprem.hosts if one.name != api)
    # What an agent has read at its start, and heard no more of since, is what it may lose sight of.
    renew_agent(environment, host)
    pods = cluster.items(environment, "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")
    gone = next(pod for pod in pods if pod["spec"]["nodeName"] != host)
    try:
        with api_out_of_reach(network, host):
            cluster.kubectl(environment, "delete", "pod", "-n", "kube-system", gone["metadata"]["name"], timeout=60)
            wait_for("the pod leaves the Service", lambda: gone["status"]["podIP"] not in addresses(environment))
        connect = ("bash", "-c", CONNECT, str(addressing.dns(network.service_cidr)))
        knew = wait_for(f"{host} connects to pods that are there", lambda: "all" in machines.run(host, *connect), 60)
    finally:
        wait_until_whole(environment, settings)
    print(f"{host} knew the Service's pods {knew:.0f} s after it could reach the API again")
