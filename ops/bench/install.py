"""How long from bare hosts to a cluster: our playbook against a plain kubeadm script, same machines, same mirror.

Each side gets machines that were just made; it costs both sides the same. The image pulls and the two etcd joins are
most of it. They take turns for some rounds: etcd now and then loses a joining member's first word, and either side then
waits nine seconds more.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

from ops.bench import site
from ops.bench.site import Site
from ops.up import load

ROUNDS = 3


def measure(environment: str) -> dict[str, float]:
    """Seconds of both roads to a cluster of the environment's hosts, and ours in multiples of the bare script's.

    Medians over the rounds.
    """
    settings = site.moved(load(environment))
    bare, ours = [], []
    for _ in range(ROUNDS):
        with site.made(settings) as there:
            bare.append(site.seconds("bare kubeadm script", partial(bare_script, there)))
        with site.made(settings) as there:
            ours.append(site.seconds("playbook", partial(there.playbook, settings)))
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    return {
        "bare kubeadm script, s": median(bare),
        "our playbook, s": median(ours),
        "ratio": median(ratios),
        "ratio, least": min(ratios),
        "ratio, most": max(ratios),
    }


def bare_script(there: Site) -> None:
    """kubeadm by hand: all hosts prepared side by side, one init, the others join one after the other."""
    onprem = there.environment.onprem
    first, *others = onprem.hosts
    site.seconds("    hosts", partial(_side_by_side, there, there.preparation()))
    version, network = there.environment.kubernetes.version, onprem.network
    init = ["init", str(first.address), version, str(network.pod_cidr), str(network.service_cidr)]
    site.seconds("    init", partial(there.bare, first.name, *init))
    printed = there.bare(first.name, "ticket", "control-plane")
    for host in others:
        join = ["join", *site.ticket(printed), str(host.address), printed.split()[-1]]
        site.seconds("    join", partial(there.bare, host.name, *join))


def _side_by_side(there: Site, arguments: list[str]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda host: there.bare(host.name, *arguments), there.environment.onprem.hosts))
