"""How long a node more takes: our playbook against a bare `kubeadm join`, on machines of the same kind.

The cluster is the environment's own, elsewhere, made by our playbook: what a run over its hosts takes is part of what a
person waits for. Two machines join it, each just booted. On our road one is in the inventory, and the whole playbook
runs, as in `make up`. The other gets what kubeadm strictly needs, a token and `kubeadm join`. Both are there when the
kubelet has registered its node, and kubeadm has seen it well: for Ready they would need a network, which comes later
on both roads. Before each, what a playbook leaves in the background (images of pods are fetched) has ended.
"""

from __future__ import annotations

from functools import partial

from infra.environment import Environment, Host
from ops.bench import site
from ops.bench.site import Site
from ops.up import load

OURS, BARE = "joins-by-playbook", "joins-by-kubeadm"
WAIT_S = 300
FETCHING = 'pgrep -f "[a]sync_wrapper"'
"""Whether the playbook's last task, which goes on without it, still runs."""


def measure(environment: str) -> dict[str, float]:
    """Seconds of both roads from a booted machine to a node of it, and ours in multiples of the bare one's."""
    settings = site.moved(load(environment))
    wider = with_worker(settings, OURS)
    ours, bare = wider.onprem.hosts[-1], with_worker(wider, BARE).onprem.hosts[-1]
    with site.made(settings) as there:
        site.seconds("the cluster", partial(there.playbook, settings))
        settle(there)
        there.boot(ours)
        by_playbook = site.seconds("playbook, with a host more", partial(playbook, there, wider))
        settle(there)
        there.boot(bare)
        by_kubeadm = site.seconds("bare kubeadm join", partial(bare_join, there, bare))
    return {"bare kubeadm join, s": by_kubeadm, "our playbook, s": by_playbook, "ratio": by_playbook / by_kubeadm}


def with_worker(environment: Environment, name: str) -> Environment:
    """The environment with one host more, a worker, at the first address that nobody has."""
    onprem, network = environment.onprem, environment.onprem.network
    floating = {network.api_address, network.ingress_address}
    taken = {host.address for host in onprem.hosts} | floating | {network.gateway, network.mirror_address}
    address = next(one for one in network.cidr.hosts() if one not in taken)
    hosts = (*onprem.hosts, Host(name=name, address=address, roles=("worker",)))
    return environment.model_copy(update={"onprem": onprem.model_copy(update={"hosts": hosts})})


def playbook(there: Site, wider: Environment) -> None:
    """Our road."""
    there.playbook(wider)
    await_node(there, wider.onprem.hosts[-1].name)


def bare_join(there: Site, host: Host) -> None:
    """The bare road, through the same endpoint."""
    site.seconds("    host", partial(there.bare, host.name, *there.preparation()))
    printed = there.bare(_first(there), "ticket")
    site.seconds("    join", partial(there.bare, host.name, "join", *site.ticket(printed)))
    await_node(there, host.name)


def await_node(there: Site, name: str) -> None:
    """Until the kubelet of that host has registered its node: nobody else says which version it has."""
    what = "jsonpath={.status.nodeInfo.kubeletVersion}"
    ask = f"kubectl --kubeconfig /etc/kubernetes/admin.conf get node {name} -o {what} 2> /dev/null"
    _until(there, _first(there), f'[ -n "$({ask})" ]', every_s=0.2)


def settle(there: Site) -> None:
    """Until no host fetches images any longer: the next road is to have the processors for itself."""
    for host in there.host_keys:
        _until(there, host, f"! {FETCHING}", every_s=1)


def _first(there: Site) -> str:
    return there.environment.onprem.having("control_plane")[0].name


def _until(there: Site, host: str, condition: str, *, every_s: float) -> None:
    """Waits, on the host itself, until a shell's condition holds."""
    script = f"until {condition}; do sleep {every_s}; done"
    there.podman.execute(host, "timeout", str(WAIT_S), "sh", "-c", script, timeout_s=2 * WAIT_S)
