"""How long a node more takes: our playbook against a bare `kubeadm join`, on machines of the same kind.

The cluster is the environment's own, elsewhere: made by our playbook, with the platform's network. Two machines join
it, each just booted. On our road one is in the inventory, and the whole playbook runs, as in `make up`. The other gets
what kubeadm strictly needs, a token and `kubeadm join`. A road is at its end when it has nothing more to do and its
node is Ready; told too is when the kubelet had registered the node, which is all that kubeadm itself sees to. Before
each, what a playbook leaves in the background (images of pods are fetched) has ended, and new nodes have come to rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from infra.environment import Environment, Host
from ops.bench import site
from ops.bench.site import Site
from ops.console import say
from ops.up import load

OURS, BARE = "joins-by-playbook", "joins-by-kubeadm"
WAIT_S = 300
REST_S = 20
"""Nodes that have just become Ready compile programs of Cilium's for a while."""
FETCHING = 'pgrep -f "[a]sync_wrapper"'
"""Whether the playbook's last task, which goes on without it, still runs."""


def measure(environment: str) -> dict[str, float]:
    """Seconds of both roads from a booted machine to a node, and ours in multiples of the bare one's."""
    settings = site.moved(load(environment))
    wider = with_worker(settings, OURS)
    ours, bare = wider.onprem.hosts[-1], with_worker(wider, BARE).onprem.hosts[-1]
    with site.made(settings) as there:
        site.seconds("the cluster", partial(there.playbook, settings))
        site.seconds("its network", there.network)
        there.boot(ours)
        settle(there)
        by_playbook = joined(there, ours, partial(there.playbook, wider))
        there.boot(bare)
        settle(there)
        by_kubeadm = joined(there, bare, partial(bare_join, there, bare))
    return {
        "bare kubeadm join, registered, s": by_kubeadm[0],
        "our playbook, registered, s": by_playbook[0],
        "bare kubeadm join, Ready, s": by_kubeadm[1],
        "our playbook, Ready, s": by_playbook[1],
        "ratio": by_playbook[1] / by_kubeadm[1],
    }


def joined(there: Site, host: Host, road: Callable[[], None]) -> tuple[float, float]:
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


def with_worker(environment: Environment, name: str) -> Environment:
    """The environment with one host more, a worker, at the first address that nobody has."""
    onprem, network = environment.onprem, environment.onprem.network
    floating = {network.api_address, network.ingress_address}
    taken = {host.address for host in onprem.hosts} | floating | {network.gateway, network.mirror_address}
    address = next(one for one in network.cidr.hosts() if one not in taken)
    hosts = (*onprem.hosts, Host(name=name, address=address, roles=("worker",)))
    return environment.model_copy(update={"onprem": onprem.model_copy(update={"hosts": hosts})})


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
