"""Who reaches whom, tried by pods in everybody's place; and that it stays so while the agent of a node restarts.

On each site of lab machines.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from infra.cloud import lab_site
from infra.environment import Environment, Onprem
from infra.naming import (
    INGRESS_NODE_PORT,
    INGRESS_POD_PORT,
    LOAD_BALANCER_METRICS_PORT,
    MIRROR_PORT,
    OBJECT_STORE,
    STATUS,
    STATUS_NAMESPACE,
)
from infra.platform import coredns, status
from infra.platform.monitoring import names
from infra.platform.object_store_settings import ADMIN_PORT, RPC_PORT, S3_PORT
from ops import cluster, machines, sites
from ops.up import load
from tests.cluster.conftest import ENVIRONMENT
from tests.cluster.probes import REACH, RECEIVE, SEND, Probe, Target, answered, running, unguarded

METADATA, WORLD = "169.254.169.254", "203.0.113.10"
"""Where a cloud keeps the credentials of its machines, and one of nobody's (RFC 5737) that stands for the world."""

DNS = {"dns, udp", "dns, tcp"}
API = {"api, service", "api, floating", "api, another host"}
KUBELETS = {"kubelet, same host", "kubelet, another host"}
NODE_EXPORTER = {"node exporter, another host", "load balancer's metrics, another host"}
HOSTS = KUBELETS | NODE_EXPORTER | {"etcd, another host", "sshd, another host"}
"""A pod's packets to another host leave with its own host's address, and pass for that host's own there."""
OUTSIDE = {"metadata", "the world", "mirror"}
FAR_STORE, AMAZONS_STORE = "the other site's store", "Amazon's store"
"""Seen from the lab's cloud half, whose models are at the API that stands for AWS'."""
STORE = {"store, service", "store, same host", "store, another host"}
ADMIN = {"store's admin, same host", "store's admin, another host"}
MODEL = {"model, service", "model, node port", "model, same host", "model, another host"}
DNS_METRICS = {"dns, metrics"}
UNGUARDED = "(unguarded)"
"""Stands for a namespace that no policy is in."""
PAGE = "status page"
"""Hosts alone reach it, see test_hosts_reach_what_is_for_them_and_of_the_store_what_is_published."""
VIEW = "view of both sites"
"""Where there are two. Hosts reach it too, for the other site, and it lets in who proves who it is."""
PROMETHEUS = names.PROMETHEUS
WATCHERS = {
    PROMETHEUS: names.PROMETHEUS_PORT,
    names.ALERTMANAGER: names.ALERTMANAGER_PORT,
    names.KUBE_STATE_METRICS: names.KUBE_STATE_METRICS_PORT,
}

EXPECTED: dict[tuple[str, str | None], set[str]] = {
    ("workloads", None): set(),
    ("workloads", "training"): DNS | STORE,
    ("object-store", None): set(),
    ("object-store", "garage-setup"): ADMIN,
    ("default", None): set(),
    ("monitoring", None): set(),
    # An API server's Service and the model's are their hosts and pods by then, at the ports that it may read.
    ("monitoring", "prometheus"): {"api, service", "api, another host"}
    | KUBELETS
    | NODE_EXPORTER
    | DNS_METRICS
    | ADMIN
    | MODEL
    | {*WATCHERS, VIEW},
    ("monitoring", names.VIEW): {"api, service", "api, another host", names.ALERTMANAGER},
    ("monitoring", "kube-state-metrics"): {"api, service", "api, another host"},
    ("monitoring", "alertmanager"): set(),
    (STATUS_NAMESPACE, None): set(),
    # While it stands in for the page, some requests at the page's address are its too, and refused.
    (STATUS_NAMESPACE, STATUS): DNS | {"api, service", "api, another host"} | MODEL | {names.ALERTMANAGER},
    ("kube-system", None): set(),
    ("kube-system", coredns.APP): {"api, service", "api, another host"},
    # Confined by nobody, and refused by all that guard themselves: the model, the store, monitoring, the page.
    (UNGUARDED, None): DNS | API | HOSTS | OUTSIDE,
}
"""(namespace, app whose pod it passes for) -> all that it reaches on the on-prem site."""

CLOUD_NAMESPACES = {"workloads", "default", "monitoring", STATUS_NAMESPACE, "kube-system", UNGUARDED}
NOT_IN_THE_CLOUD = STORE | ADMIN | {"store's own, same host", "store's own, another host", "model, another host", VIEW}
"""Models are not in the cluster there, and one host runs pods."""

EXPECTED_IN_THE_CLOUD: dict[tuple[str, str | None], set[str]] = {
    **{
        place: reached - NOT_IN_THE_CLOUD
        for place, reached in EXPECTED.items()
        if place[0] in CLOUD_NAMESPACES and place[1] != names.VIEW
    },
    # Models are trained on-prem, and come from there.
    ("workloads", "training"): set(),
    ("workloads", "replication"): DNS | {FAR_STORE, AMAZONS_STORE},
    # Its host is no control plane there: etcd is for those.
    (UNGUARDED, None): EXPECTED[UNGUARDED, None] - {"etcd, another host"} | {FAR_STORE, AMAZONS_STORE},
}


@dataclass(frozen=True, kw_only=True)
class Site:
    """Two hosts, and where everything is, seen from the first, which has a pod of the model.

    So has the second on the on-prem site, and each a pod of the store.
    """

    settings: Environment
    name: str
    here: str
    there: str
    targets: dict[str, Target]

    @property
    def hosts(self) -> Onprem:
        return sites.one(self.settings, self.name)


class _Places:
    """Where apps of a site are."""

    def __init__(self, environment: str, site: str) -> None:
        self.environment, self.site = environment, site

    def by_host(self, namespace: str, app: str) -> dict[str, str]:
        """Host -> address of the app's ready pod there."""
        label = f"app.kubernetes.io/name={app}"
        found = cluster.items(self.environment, "pods", "-n", namespace, "-l", label, site=self.site)
        return {pod["spec"]["nodeName"]: pod["status"]["podIP"] for pod in found if cluster.ready(pod)}

    def pod(self, namespace: str, app: str) -> str:
        """The address of any ready pod of an app."""
        return next(iter(self.by_host(namespace, app).values()))

    def service(self, namespace: str, name: str) -> str:
        """The address of a Service."""
        path = "jsonpath={.spec.clusterIP}"
        return cluster.kubectl(self.environment, "get", "service", name, "-n", namespace, "-o", path, site=self.site)


@pytest.fixture(scope="module", params=sites.of(load(ENVIRONMENT)))
def site(environment: str, request: pytest.FixtureRequest) -> Site:
    settings = load(environment)
    hosts, places = sites.one(settings, request.param), _Places(environment, request.param)
    network = hosts.network
    addresses = {host.name: str(host.address) for host in hosts.hosts}
    model, store = places.by_host("workloads", "inference"), places.by_host("object-store", "garage")
    if request.param == "onprem":
        here, there = sorted(model.keys() & store.keys())[:2]
    else:
        here = min(model)
        there = next(host for host in addresses if host != here)
    dns = places.service("kube-system", "kube-dns")
    tcp: dict[str, tuple[str, int]] = {
        "dns, tcp": (dns, 53),
        "api, service": (places.service("default", "kubernetes"), 443),
        "api, floating": (str(network.api_address), network.api_port),
        "api, another host": (addresses[there], 6443),
        "kubelet, same host": (addresses[here], 10250),
        "kubelet, another host": (addresses[there], 10250),
        "etcd, another host": (addresses[there], 2379),
        "sshd, another host": (addresses[there], hosts.ssh.port),
        "metadata": (METADATA, 80),
        "the world": (WORLD, 80),
        "mirror": (str(network.mirror_address), MIRROR_PORT),
        "model, service": (places.service("workloads", "inference"), 80),
        "model, node port": (addresses[there], INGRESS_NODE_PORT),
        "model, same host": (model[here], INGRESS_POD_PORT),
        "node exporter, another host": (addresses[there], names.NODE_EXPORTER_PORT),
        "load balancer's metrics, another host": (addresses[there], LOAD_BALANCER_METRICS_PORT),
        "dns, metrics": (places.pod(coredns.NAMESPACE, coredns.APP), coredns.METRICS_PORT),
    }
    if request.param == "onprem":
        tcp |= {
            "store, service": (places.service("object-store", "garage"), S3_PORT),
            "store, same host": (store[here], S3_PORT),
            "store, another host": (store[there], S3_PORT),
            "store's own, same host": (store[here], RPC_PORT),
            "store's own, another host": (store[there], RPC_PORT),
            "store's admin, same host": (store[here], ADMIN_PORT),
            "store's admin, another host": (store[there], ADMIN_PORT),
            "model, another host": (model[there], INGRESS_POD_PORT),
        }
    else:
        assert settings.cloud is not None
        tcp |= {
            FAR_STORE: (str(settings.onprem.network.ingress_address), OBJECT_STORE.port),
            AMAZONS_STORE: (str(lab_site.aws_api(settings.cloud)), lab_site.AWS_API_PORT),
        }
    if settings.platform.monitoring:
        tcp |= {app: (places.pod(names.NAMESPACE, app), port) for app, port in WATCHERS.items()}
        if settings.cloud and request.param == "onprem":
            tcp[VIEW] = (places.pod(names.NAMESPACE, names.VIEW), names.VIEW_PORT)
    if settings.platform.status:
        tcp[PAGE] = (places.pod(STATUS_NAMESPACE, STATUS), status.PORT)
    targets: dict[str, Target] = {name: (*address, "tcp") for name, address in tcp.items()}
    targets["dns, udp"] = (dns, 53, "udp")
    return Site(settings=settings, name=request.param, here=here, there=there, targets=targets)


@pytest.fixture(scope="module")
def outside(site: Site) -> Iterator[None]:
    """Somebody who answers where a cloud's metadata and the world would: nothing else in a lab does.

    On the other host's loopback, which Cilium takes no notice of, and to which the first host's routes lead.
    """
    gateway = next(str(host.address) for host in site.hosts.hosts if host.name == site.there)
    rule, apply = "/etc/isthmus/firewall.d/probe.nft", "systemctl reload isthmus-firewall"
    admit = f"mkdir -p $(dirname {rule}); echo 'ip daddr {{ {METADATA}, {WORLD} }} accept' > {rule}; {apply}"
    undo: list[tuple[str, ...]] = [(site.there, "sh", "-ec", f"rm -f {rule}; {apply}")]
    try:
        machines.run(site.there, "sh", "-ec", admit)
        for number, address in enumerate((METADATA, WORLD)):
            unit = f"isthmus-probe-{number}"
            serve = ("systemd-run", f"--unit={unit}", "--collect", "python3", "-m", "http.server", "80")
            taken = (f"{address}/32", "dev", "lo")
            steps = [
                ((site.there, "ip", "address"), ("add", *taken), ("del", *taken)),
                ((site.here, "ip", "route"), ("add", f"{address}/32", "via", gateway), ("del", f"{address}/32")),
                ((site.there,), (*serve, "--bind", address), ("systemctl", "stop", unit)),
            ]
            for on, do, undone in steps:
                machines.run(*on, *do)
                undo.append((*on, *undone))
        yield
    finally:
        for command in reversed(undo):
            machines.run(*command)


ASKED_AT_ONCE = 6


def settled(probe: Probe, targets: dict[str, Target], expected: set[str], seconds: float = 30) -> set[str]:
    """All that the probe ever reached, asked twice and then again until what it should reach has answered.

    A new pod's identity takes a moment to be known on other hosts, where until then it is refused.
    """
    reached, end, rounds = set[str](), time.monotonic() + seconds, 0
    while rounds < 2 or (not expected <= reached and time.monotonic() < end):
        reached |= probe.reached(targets)
        rounds += 1
    return reached


def table(found: dict[str, set[str]], names: list[str]) -> str:
    """Who reached what, for the log."""
    rows = [
        f"{name:<30}" + "".join("  x" if name in reached else "  ." for reached in found.values()) for name in names
    ]
    return "\n".join([*(f"{number + 1}: {who}" for number, who in enumerate(found)), *rows])


@pytest.mark.usefixtures("outside")
def test_everybody_reaches_what_the_table_says_and_nothing_else(environment: str, site: Site) -> None:
    platform = site.settings.platform
    absent = {names.NAMESPACE: not platform.monitoring, STATUS_NAMESPACE: not platform.status}
    wanted = EXPECTED if site.name == "onprem" else EXPECTED_IN_THE_CLOUD
    expectations = {place: reached for place, reached in wanted.items() if not absent.get(place[0])}
    if not site.settings.cloud:
        expectations.pop((names.NAMESPACE, names.VIEW), None)
        expectations = {place: reached - {VIEW} for place, reached in expectations.items()}
    # What is refused is waited for: several are asked at once.
    with (
        unguarded(environment, site.name) as free,
        running(
            environment,
            *((site.here, place.replace(UNGUARDED, free), app) for place, app in expectations),
            site=site.name,
        ) as probes,
        ThreadPoolExecutor(max_workers=ASKED_AT_ONCE) as pool,
    ):
        answers = pool.map(lambda probe, wanted: settled(probe, site.targets, wanted), probes, expectations.values())
        found = dict(zip([f"{namespace}/{app or 'anybody'}" for namespace, app in expectations], answers, strict=True))
    wrong: list[str] = []
    for (who, reached), expected in zip(found.items(), expectations.values(), strict=True):
        wrong += [f"{who} reached {name}" for name in sorted(reached - expected)]
        wrong += [f"{who} did not reach {name}" for name in sorted(expected - reached)]
    print(table(found, sorted(site.targets)))
    assert not wrong


def test_hosts_reach_what_is_for_them_and_of_the_store_what_is_published(site: Site) -> None:
    # Seen from the other host: a host always reaches the pods that it runs itself, which the kubelet must.
    names = [name for name in site.targets if name.endswith("same host") and not name.startswith("kubelet")]
    page = {PAGE} & site.targets.keys()
    # Whichever host it is on.
    numbers = {PROMETHEUS} if site.settings.workloads.inference.scales_by_requests else set()
    targets = {name: site.targets[name] for name in [*names, *page, *numbers, "dns, udp"]}
    published = {"store, same host"} & site.targets.keys() if site.settings.cloud else set()
    expected = {"model, same host", "dns, udp"} | published | page | numbers
    reached = answered(machines.run(site.there, "python3", "-c", REACH, json.dumps(targets)))
    assert reached == expected


PORT, HERTZ, SECONDS = 9999, 20.0, 60.0
BEFORE_S, AFTER_S = 5.0, 5.0


def test_not_one_forbidden_packet_passes_while_the_agent_of_a_node_restarts(environment: str, site: Site) -> None:
    with (
        unguarded(environment, site.name) as open_to_all,
        running(
            environment,
            (site.here, "workloads", None),
            (site.here, "workloads", None),
            (site.here, open_to_all, None),
            (site.there, open_to_all, None),
            site=site.name,
        ) as (confined, guarded, free, stranger),
    ):
        receivers = {
            name: probe.start(RECEIVE, str(PORT), str(SECONDS + 10))
            for name, probe in (("stranger", stranger), ("guarded", guarded))
        }
        time.sleep(2)
        ways = {"out": (confined, stranger), "in": (stranger, guarded), "allowed": (free, stranger)}
        senders = {
            tag: origin.start(SEND, goal.address, str(PORT), tag, str(HERTZ), str(SECONDS))
            for tag, (origin, goal) in ways.items()
        }
        began = time.monotonic()
        time.sleep(BEFORE_S)
        # The host's own pods hear it in any case: so the guarded one would have heard others.
        machines.run(site.here, "python3", "-c", SEND, guarded.address, str(PORT), "host", "10", "1")
        old = _agent(environment, site)
        cluster.kubectl(environment, "delete", "pod", "-n", "kube-system", old, "--wait=false", site=site.name)
        back = _wait_for_another(environment, site, old, began + SECONDS - AFTER_S)
        sent = {tag: int(_ended(sender)) for tag, sender in senders.items()}
        heard = {name: json.loads(_ended(receiver)) for name, receiver in receivers.items()}
    print(f"the agent was back after {back:.0f} s; sent {sent}, heard {heard}")
    assert min(sent.values()) > SECONDS * HERTZ / 2, "too few tries to mean anything"
    assert heard["guarded"].get("host", 0) > 0, "the guarded pod did not listen"
    assert heard["stranger"].get("allowed", 0) > sent["allowed"] * 0.9, "what is allowed was cut off"
    assert heard["stranger"].get("out", 0) == 0, "a confined pod's packets went out"
    assert heard["guarded"].get("in", 0) == 0, "a guarded pod was reached"


def _agent(environment: str, site: Site, *, but: str = "") -> str:
    """The name of the first host's ready agent that is not `but`, or nothing."""
    pods = cluster.items(environment, "pods", "-n", "kube-system", "-l", "k8s-app=cilium", site=site.name)
    names = [p["metadata"]["name"] for p in pods if p["spec"].get("nodeName") == site.here and cluster.ready(p)]
    return next((name for name in names if name != but), "")


def _wait_for_another(environment: str, site: Site, old: str, until: float) -> float:
    """Seconds until the host's next agent was ready; it must be before `until`, of the monotonic clock."""
    start = time.monotonic()
    while not _agent(environment, site, but=old):
        assert time.monotonic() < until, f"no new agent on {site.here} in time for the test to watch it"
        time.sleep(1)
    return time.monotonic() - start


def _ended(process: subprocess.Popen[str]) -> str:
    printed, errors = process.communicate(timeout=SECONDS + 60)
    assert process.returncode == 0, errors
    return printed
