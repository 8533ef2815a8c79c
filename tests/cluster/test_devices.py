"""Accelerators through the kubelet's device plugin API, and by dynamic resource allocation: told of, handed out, waited
for, and lost without harm."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra import addressing, nodes
from infra.accelerators import SIMULATED, SIMULATED_DEVICES, SIMULATED_DRA, SIMULATIONS
from infra.nodes import Offer
from infra.platform.dra_driver import DRIVER
from infra.platform.monitoring import names
from ops import cluster, machines, sites
from ops.console import Failure
from ops.up import load
from tests.cluster import watching
from tests.cluster.conftest import ENVIRONMENT

SETTINGS = load(ENVIRONMENT)
OFFERED: list[tuple[nodes.Site, Offer]] = [
    (site, offer)
    for site in nodes.SITES
    for offer in nodes.offers(SETTINGS, site)
    if offer.accelerator.plugin in SIMULATIONS
]

SCRIPT = """
import os, pathlib, re, sys, time
files = [path.name for path in pathlib.Path("/tmp").glob("Dev-*")]
named = [value for name, value in os.environ.items() if re.fullmatch(r"GPU_DEVICE_\\d+", name)]
print(*sorted(files + named), flush=True)
time.sleep(float(sys.argv[1]))
"""

PATIENCE_S = 60
"""More than the kubelet's and the scheduler's turns take on a busy machine."""


class Lab(ABC):
    """One site's devices of one kind, a namespace of the test's own, and pods in it that ask for them."""

    resource: str
    seen: tuple[str, str]
    """What pods see of a host's devices."""
    refusal: str
    """What the scheduler says of a pod that waits for one."""
    registration: str | None
    """What their plugin writes when its kubelet knows it. Before, the kubelet refuses pods that ask for devices, while
    the node may still say what it had; None where the kubelet lets them wait instead."""

    def __init__(self, site: nodes.Site, offer: Offer, namespace: str, folder: Path) -> None:
        self.site, self.namespace, self.folder = site, namespace, folder
        self.selector = offer.accelerator.node_selector
        self.plugin = offer.accelerator.name
        self.hosts = [
            host.name for host in sites.one(SETTINGS, site).having("worker") if offer.accelerator.selects(host.labels)
        ]
        served = cluster.items(
            ENVIRONMENT, "pods", "-n", "workloads", "-l", "app.kubernetes.io/name=inference", site=site
        )
        self.image = served[0]["spec"]["containers"][0]["image"]

    def kubectl(self, *arguments: str) -> str:
        return cluster.kubectl(ENVIRONMENT, *arguments, site=self.site, timeout=120)

    def get(self, kind: str, name: str, *arguments: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", kind, name, *arguments, "-o", "json"))

    def pod(self, name: str) -> dict[str, Any]:
        return self.get("pod", name, "-n", self.namespace)

    def start(self, name: str, count: int = 1, host: str | None = None) -> None:
        """A pod that asks for devices, prints those that it sees, and keeps them until it is deleted."""
        spec = {
            "nodeSelector": {"kubernetes.io/hostname": host} if host else {},
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "user",
                    "image": self.image,
                    "command": ["/usr/bin/python3.11", "-c", SCRIPT, "3600"],
                    "resources": {"limits": {self.resource: str(count), "cpu": "100m", "memory": "64Mi"}},
                }
            ],
        }
        path = self.folder / f"{name}.json"
        metadata = {"name": name, "namespace": self.namespace}
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
        self.kubectl("create", "-f", str(path))

    def user(self) -> tuple[dict[str, Any], str]:
        """A pod called user that has a device, and its host."""
        self.start("user")
        wait_for("user runs", lambda: self.runs("user"))
        pod = self.pod("user")
        return pod, pod["spec"]["nodeName"]

    def end(self, name: str) -> None:
        self.kubectl("delete", "pod", name, "-n", self.namespace)

    def runs(self, name: str) -> bool:
        """Whether it runs and has said what it sees, which on a busy machine comes seconds later."""
        return cluster.ready(self.pod(name)) and "\n" in self.kubectl("logs", name, "-n", self.namespace)

    @abstractmethod
    def whole(self, host: str) -> bool:
        """Whether the host offers all its devices."""

    @abstractmethod
    def without(self, host: str) -> bool:
        """Whether the host has none."""

    @abstractmethod
    def lost(self, host: str) -> bool:
        """Whether the kubelet has lost their plugin, and hands none out."""

    def registrations(self, plugin: str) -> int:
        """How often a plugin pod says that it has registered with its kubelet."""
        log = self.kubectl("logs", plugin, "-n", "accelerators")
        return log.count(self.registration) if self.registration else 0

    def registered(self, plugin: str, times: int) -> bool:
        """Whether it has so often, so that its kubelet refuses no pod that asks for devices."""
        return self.registration is None or self.registrations(plugin) == times

    def refused(self, name: str) -> bool:
        """Whether the scheduler has found no device for a pod, and says so."""
        return self.refusal in _scheduled(self.pod(name))

    def plugins(self) -> dict[str, str]:
        """Node -> name of its ready plugin pod."""
        label = f"app.kubernetes.io/name={self.plugin}"
        found = cluster.items(ENVIRONMENT, "pods", "-n", "accelerators", "-l", label, site=self.site)
        return {one["spec"]["nodeName"]: one["metadata"]["name"] for one in found if cluster.ready(one)}


class ByPlugin(Lab):
    """Extended resources of nodes."""

    resource = SIMULATED
    seen = ("Dev-1", "Dev-2")
    refusal = f"Insufficient {SIMULATED}"
    registration = "Device Plugin registered with the Kubelet"

    def devices(self, host: str) -> tuple[int, int]:
        """What the node says it has, and what of it can be handed out."""
        status = self.get("node", host)["status"]
        return int(status["capacity"].get(SIMULATED, 0)), int(status["allocatable"].get(SIMULATED, 0))

    def whole(self, host: str) -> bool:
        return self.devices(host) == (SIMULATED_DEVICES, SIMULATED_DEVICES)

    def without(self, host: str) -> bool:
        return self.devices(host) == (0, 0)

    def lost(self, host: str) -> bool:
        return self.devices(host) == (SIMULATED_DEVICES, 0)

    def told_of(self, host: str) -> bool:
        """Whether Prometheus has begun to count the time after which DeviceUnhealthy fires for a host, or it does."""
        with watching.api(ENVIRONMENT, self.site, "svc/prometheus", names.PROMETHEUS_PORT) as prometheus:
            return bool(prometheus.query(f'ALERTS{{alertname="DeviceUnhealthy", node="{host}"}}'))


class ByClaim(Lab):
    """Devices that a driver tells the API of."""

    resource = SIMULATED_DRA
    seen = ("gpu-0", "gpu-1")
    refusal = "cannot allocate all claims"
    registration = None

    def devices(self, host: str) -> set[str]:
        """Those that the driver tells of."""
        slices = cluster.items(ENVIRONMENT, "resourceslices", site=self.site)
        own = (one["spec"] for one in slices if (one["spec"].get("nodeName"), one["spec"]["driver"]) == (host, DRIVER))
        return {device["name"] for spec in own for device in spec["devices"]}

    def whole(self, host: str) -> bool:
        return self.devices(host) == {*self.seen}

    def without(self, host: str) -> bool:
        return not self.devices(host)

    lost = without

    def shown(self, host: str) -> list[tuple[int, int]]:
        """How many the status page shows of a host, and how many of them are well; nothing while it knows of none."""
        assert SETTINGS.platform.status
        url = addressing.status_url(sites.one(SETTINGS, self.site).network, SETTINGS.platform.status.port)
        devices = {node["name"]: node["devices"] for node in watching.page(url)["cluster"]["value"]["nodes"]}[host]
        return [(one["capacity"], one["allocatable"]) for one in devices if one["name"] == SIMULATED_DRA]


KINDS: dict[str, type[Lab]] = {"simulated": ByPlugin, "simulated-dra": ByClaim}


def wait_for(what: str, true: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Waits until it is so, and says what was not."""
    deadline = time.monotonic() + seconds
    while True:
        # While a kubelet restarts, its pods' logs cannot be had.
        with contextlib.suppress(Failure):
            if true():
                return
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(1)


@pytest.fixture(
    scope="module",
    params=OFFERED,
    ids=[f"{site}-{offer.accelerator.plugin}" for site, offer in OFFERED],
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A site that has simulated accelerators, with a namespace that is gone afterwards."""
    where, offer = request.param
    name = f"test-{uuid.uuid4().hex[:8]}"
    made = KINDS[offer.accelerator.plugin](where, offer, name, tmp_path_factory.mktemp("pods"))
    made.kubectl("create", "namespace", name)
    try:
        yield made
    finally:
        made.kubectl("delete", "namespace", name)


@pytest.fixture
def lab(site: Lab) -> Iterator[Lab]:
    """The site with all its devices healthy and free, before and after."""
    for host in site.hosts:
        wait_for(f"{host} offers its devices", partial(site.whole, host))
    try:
        yield site
    finally:
        site.kubectl("delete", "pods", "--all", "-n", site.namespace)


by_claim = pytest.mark.parametrize(
    "site",
    [one for one in OFFERED if one[1].accelerator.plugin == "simulated-dra"],
    ids=lambda one: one[0],
    indirect=True,
)


def test_hosts_with_the_labels_offer_devices_and_others_do_not(lab: Lab) -> None:
    assert lab.hosts, "the environment names hosts that no site has"
    assert set(lab.plugins()) == set(lab.hosts)
    for host in sites.one(SETTINGS, lab.site).having("worker"):
        assert lab.whole(host.name) if host.name in lab.hosts else lab.without(host.name), host.name


def test_a_pod_gets_devices_where_they_are_waits_when_all_are_taken_and_runs_when_one_is_free(lab: Lab) -> None:
    users = [f"user-{number}" for number in range(SIMULATED_DEVICES * len(lab.hosts))]
    for user in users:
        lab.start(user)
    for user in users:
        wait_for(f"{user} runs", partial(lab.runs, user))
    seen = {
        (lab.pod(user)["spec"]["nodeName"], lab.kubectl("logs", user, "-n", lab.namespace).strip()) for user in users
    }
    assert seen == {(host, device) for host in lab.hosts for device in lab.seen}, "one device a pod, none twice"

    lab.start("late")
    wait_for("the scheduler says why", lambda: lab.refused("late"))
    assert "nodeName" not in lab.pod("late")["spec"]
    lab.end(users[0])
    wait_for("the late one runs", lambda: lab.runs("late"))


def test_a_pod_that_asks_for_more_than_a_host_has_waits(lab: Lab) -> None:
    lab.start("greedy", count=SIMULATED_DEVICES + 1)
    wait_for("the scheduler says why", lambda: lab.refused("greedy"))


def test_a_plugin_that_dies_takes_no_pod_with_it_and_its_devices_come_back(lab: Lab) -> None:
    before, host = lab.user()
    plugin = lab.plugins()[host]
    lab.kubectl("delete", "pod", plugin, "-n", "accelerators", "--grace-period=0", "--force")
    wait_for("another plugin runs", lambda: lab.plugins().get(host, plugin) != plugin)
    wait_for("it has registered", lambda: lab.registered(lab.plugins()[host], 1))
    wait_for("the devices are back", lambda: lab.whole(host))
    assert _unharmed(before, lab.pod("user"))
    lab.start("second", host=host)
    wait_for("the other device is handed out", lambda: lab.runs("second"))


def test_devices_without_their_plugin_are_unhealthy_and_get_no_pod_until_it_is_back(lab: Lab) -> None:
    """The kubelet does that when it has lost the plugin; a driver's devices it forgets after half a minute."""
    before, host = lab.user()
    # Of a driver that is not wanted on a host any more nothing is left to be told of.
    watched = isinstance(lab, ByPlugin) and SETTINGS.platform.monitoring is not None
    if watched:
        wait_for("nobody tells of it", lambda: not lab.told_of(host))
    with _without_plugin(lab, host):
        wait_for("none can be handed out", lambda: lab.lost(host))
        if watched:
            wait_for("Prometheus sees it", lambda: lab.told_of(host), 120)
        lab.start("late", host=host)
        wait_for("the scheduler says why", lambda: lab.refused("late"))
        assert _unharmed(before, lab.pod("user")), "who has a device keeps it"
    wait_for("the late one runs", lambda: lab.runs("late"))


def test_a_plugin_registers_again_after_the_kubelet_was_restarted(lab: Lab) -> None:
    """The plugin sees the kubelet's new socket, and waits ten seconds before it answers."""
    before, host = lab.user()
    plugin = lab.plugins()[host]
    known = lab.registrations(plugin)
    machines.run(host, "systemctl", "restart", "kubelet")
    wait_for("it has registered again", lambda: lab.registered(plugin, known + 1), 120)
    wait_for("the devices are back", lambda: lab.whole(host))
    lab.start("second", host=host)
    wait_for("the other device is handed out", lambda: lab.runs("second"))
    assert _unharmed(before, lab.pod("user"))
    # A kubelet that has just started counts as not ready who has a probe, until it has asked.
    wait_for("the plugin counts as ready, the same one", lambda: lab.plugins().get(host) == plugin)


@by_claim
def test_a_single_device_that_is_called_ill_gets_no_pod_until_it_is_well(lab: Lab) -> None:
    assert isinstance(lab, ByClaim)
    host, (ill, well) = lab.hosts[0], lab.seen
    with _tainted(lab, host, ill):
        wait_for("the status page shows it", lambda: not SETTINGS.platform.status or lab.shown(host) == [(2, 1)])
        lab.start("first", host=host)
        wait_for("the first runs", lambda: lab.runs("first"))
        assert lab.kubectl("logs", "first", "-n", lab.namespace).strip() == well
        lab.start("late", host=host)
        wait_for("the scheduler says why", lambda: lab.refused("late"))
    wait_for("the late one runs", lambda: lab.runs("late"))
    assert lab.kubectl("logs", "late", "-n", lab.namespace).strip() == ill


@by_claim
def test_the_claim_that_kubernetes_makes_for_a_pod_goes_with_it(lab: Lab) -> None:
    lab.user()

    def claims() -> list[dict[str, Any]]:
        return cluster.items(ENVIRONMENT, "resourceclaims", "-n", lab.namespace, site=lab.site)

    assert [one["status"]["reservedFor"][0]["name"] for one in claims()] == ["user"]
    lab.end("user")
    wait_for("its claim is gone", lambda: not claims())


def _unharmed(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether it is the same pod, and its container was never started again."""
    same = after["metadata"]["uid"] == before["metadata"]["uid"]
    return same and cluster.ready(after) and after["status"]["containerStatuses"][0]["restartCount"] == 0


@contextlib.contextmanager
def _without_plugin(lab: Lab, host: str) -> Iterator[None]:
    """Takes the labels from the node, so that its plugin ends and none takes its place."""
    lab.kubectl("label", "node", host, *(f"{key}-" for key in lab.selector))
    try:
        wait_for("its plugin ends", lambda: host not in lab.plugins())
        yield
    finally:
        lab.kubectl("label", "node", host, "--overwrite", *(f"{key}={value}" for key, value in lab.selector.items()))


@contextlib.contextmanager
def _tainted(lab: Lab, host: str, device: str) -> Iterator[None]:
    """Calls one device of a host ill, as an administrator would."""
    rule = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceTaintRule",
        "metadata": {"name": lab.namespace},
        "spec": {
            "deviceSelector": {"driver": DRIVER, "pool": host, "device": device},
            "taint": {"key": "example.com/ill", "effect": "NoSchedule"},
        },
    }
    path = lab.folder / "taint.json"
    path.write_text(json.dumps(rule))
    lab.kubectl("create", "-f", str(path))
    try:
        yield
    finally:
        lab.kubectl("delete", "-f", str(path))


def _scheduled(pod: dict[str, Any]) -> str:
    """Why the scheduler has found no node; empty while it has not looked."""
    conditions = pod["status"].get("conditions", [])
    return next((one.get("message", "") for one in conditions if one["type"] == "PodScheduled"), "")
