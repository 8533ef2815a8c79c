"""How long a node more takes: our playbook against a bare `kubeadm join`, on machines of the same kind.

The cluster is the environment's own, elsewhere: made by our playbook, with the platform's network. In each round two
machines join it, each just booted. On our road one is in the inventory, and the whole playbook runs, as in `make up`.
The other gets what kubeadm strictly needs, a token and `kubeadm join`. A road is at its end when it has nothing more to
do and its node is Ready; told too is when the kubelet had registered the node, which is all that kubeadm itself sees
to. Before each, what a playbook leaves in the background (images of pods are fetched) has ended, and new nodes have
come to rest. Afterwards the node leaves by the way it came and its machine is gone, so that each finds the same
cluster, and the playbook no node that it does not know: it would see that off too. The roads take turns at being first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

from infra.environment import Environment, Host
from ops.bench import site
from ops.bench.site import Site
from ops.console import say
from ops.up import load

OURS, BARE = "joins-by-playbook", "joins-by-kubeadm"
ROUNDS = 5
WAIT_S = 300
REST_S = 20
"""Nodes that have just become Ready compile programs of Cilium's for a while."""
FETCHING = 'pgrep -f "[x]args .*images pull"'
"""Whether what the playbook's last task started, and which goes on without it, still runs."""

Road = tuple[Host, Callable[[], object], Callable[[], object], list[tuple[float, float]]]
"""A host, how it comes, how it goes, and where what it took is written."""


def measure(environment: str) -> dict[str, float]:
    """Seconds of both roads from a booted machine to a node, and ours in multiples of the bare one's; medians."""
    settings = site.moved(load(environment))
    ours, bare = workers(settings, OURS, BARE)
    by_playbook: list[tuple[float, float]] = []
    by_kubeadm: list[tuple[float, float]] = []
    with site.made(settings) as there:
        site.seconds("the cluster", partial(there.playbook, settings))
        site.seconds("its network", there.network)
        for number in range(ROUNDS):
            wider = with_host(settings, ours[number])
            away = partial(there.kubectl, "delete", "node", bare[number].name)
            turn: list[Road] = [
                (ours[number], partial(there.playbook, wider), partial(there.playbook, settings), by_playbook),
                (bare[number], partial(bare_join, there, bare[number]), away, by_kubeadm),
            ]
            for host, road, back, results in reversed(turn) if number % 2 else turn:
                there.boot(host)
                settle(there)
                results.append(joined(there, host, road))
                back()
                there.remove(host)
    ratios = [our[1] / other[1] for our, other in zip(by_playbook, by_kubeadm, strict=True)]
    return {
        "bare kubeadm join, registered, s": median(registered for registered, _ in by_kubeadm),
        "our playbook, registered, s": median(registered for registered, _ in by_playbook),
        "bare kubeadm join, Ready, s": median(ready for _, ready in by_kubeadm),
        "our playbook, Ready, s": median(ready for _, ready in by_playbook),
        "ratio": median(ratios),
        "ratio, least": min(ratios),
        "ratio, most": max(ratios),
    }


def joined(there: Site, host: Host, road: Callable[[], object]) -> tuple[float, float]:
    """Seconds from the road's begin until the node is registered, and until it is Ready and the road at its end."""

    def passed(condition: str) -> float:
        there.kubectl("wait", f"node/{host.name}", f"--for={condition}", f"--timeout={WAIT_S}s")
        return time.monotonic() - start

    with ThreadPoolExecutor() as pool:
        start = time.monotonic()
        registered = pool.submit(passed, "create")
        road()
        ended = time.monotonic() - start
        took = registered.result(), max(ended, passed("condition=Ready"))
    say(f"    {host.name}: registered after {took[0]:.1f} s, the road's end {ended:.1f} s, with Ready {took[1]:.1f} s")
    return took


def workers(environment: Environment, *roads: str) -> list[list[Host]]:
    """Those that join on each road, one a round, at the first addresses that nobody has."""
    onprem, network = environment.onprem, environment.onprem.network
    floating = {network.api_address, network.ingress_address}
    taken = {host.address for host in onprem.hosts} | floating | {network.gateway, network.mirror_address}
    free = (one for one in network.cidr.hosts() if one not in taken)
    return [
        [Host(name=f"{road}-{number + 1}", address=next(free), roles=("worker",)) for number in range(ROUNDS)]
        for road in roads
    ]


def with_host(environment: Environment, host: Host) -> Environment:
    """The environment with a host more."""
    onprem = environment.onprem
    return environment.model_copy(update={"onprem": onprem.model_copy(update={"hosts": (*onprem.hosts, host)})})


def bare_join(there: Site, host: Host) -> None:
    """The bare road, through the same endpoint."""
    site.seconds("    host", partial(there.bare, host.name, *there.preparation()))
    printed = there.bare(_first(there), "ticket")
    site.seconds("    join", partial(there.bare, host.name, "join", *site.ticket(printed)))


def settle(there: Site) -> None:
    """Until no host fetches images any longer: the next road is to have the processors for itself."""
    script = f"while {FETCHING}; do sleep 1; done"
    for host in there.host_keys:
        there.podman.execute(host, "timeout", str(WAIT_S), "sh", "-c", script, timeout_s=2 * WAIT_S)
    time.sleep(REST_S)


def _first(there: Site) -> str:
    return there.environment.onprem.having("control_plane")[0].name
