"""The mesh: what one site cannot answer, the other one does, and nothing else crosses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from infra.environment import Environment
from infra.naming import INGRESS_POD_PORT
from infra.platform import mesh
from infra.platform.monitoring import names
from ops import cluster, machines, predict, sites
from ops.console import Failure
from tests.cluster import watching
from tests.cluster.probes import Target, running
from tests.e2e.addresses import holder
from tests.e2e.both_sites import a_prediction, reaches, vpn, wait_for
from tests.e2e.polling import Poller

SWITCH_S = 15.0
"""Longest that requests may fail when the last pod at home has gone: load balancers' checks, and an agent's turn."""


TOLD_S = 90.0
"""Longest until the other site is told of a pod again, when the host is lost that told of it until then."""

PEER_TOLD_S = 300.0
"""Longest from a cut to the alert, which waits a minute once agents know; and from its end."""


def agents_say(environment: str, site: str, *question: str) -> dict[str, str]:
    """Host -> what its agent prints when cilium-dbg asks it."""
    answers = {}
    for pod in cluster.items(environment, "pods", "-n", "kube-system", "-l", "k8s-app=cilium", site=site):
        asked = ("exec", "-n", "kube-system", pod["metadata"]["name"], "-c", "cilium-agent", "--", "cilium-dbg")
        answers[pod["spec"]["nodeName"]] = cluster.kubectl(environment, *asked, *question, site=site, timeout=60)
    return answers


def mesh_state(environment: str, site: str) -> dict[str, dict[str, bool]]:
    """Host -> other cluster -> whether its agent knows all of that."""
    found = {}
    for host, said in agents_say(environment, site, "status", "--output", "json").items():
        known = (json.loads(said).get("cluster-mesh") or {}).get("clusters") or []
        found[host] = {one["name"]: one.get("ready", False) for one in known}
    return found


def inference_pods(environment: str, site: str) -> list[dict]:
    selector = ("-n", "workloads", "-l", "app.kubernetes.io/name=inference")
    return cluster.items(environment, "pods", *selector, site=site)


def known_pods(environment: str, site: str) -> dict[str, set[str]]:
    """Host -> addresses of inference's pods, of either site, as its agent knows them."""
    found = {}
    for host, said in agents_say(environment, site, "shell", "--", "db/show", "backends").items():
        rows = [line.split() for line in said.splitlines()]
        found[host] = {row[1].partition(":")[0] for row in rows if row[:1] == ["workloads/inference"]}
    return found


def predictions(environment: str, site: str) -> int:
    """How many predictions the pods that a site has now have made."""
    total = 0
    for pod in inference_pods(environment, site):
        path = f"/api/v1/namespaces/workloads/pods/{pod['metadata']['name']}:8080/proxy/metrics"
        for line in cluster.kubectl(environment, "get", "--raw", path, site=site).splitlines():
            if line.startswith("isthmus_inference_requests_total{"):
                total += int(float(line.rpartition(" ")[2]))
    return total


@contextmanager
def no_pod_at_home(environment: str, site: str) -> Iterator[None]:
    """On the site nobody serves; as many do afterwards as before, and each of them is ready.

    A `make up` meanwhile would not know of it: the engine compares with what it has sent, not with what is there.
    """
    deployment = ("deployment/inference", "-n", "workloads")
    before = cluster.kubectl(environment, "get", *deployment, "-o", "jsonpath={.spec.replicas}", site=site)
    try:
        cluster.kubectl(environment, "scale", *deployment, "--replicas=0", site=site)
        yield
    finally:
        cluster.kubectl(environment, "scale", *deployment, f"--replicas={before}", site=site)
        cluster.kubectl(environment, "rollout", "status", *deployment, "--timeout=120s", timeout=130, site=site)


def wait_for_mesh(environment: str, settings: Environment) -> None:
    """Until every agent of either site knows all of the other one's cluster."""
    assert settings.cloud is not None
    for site, peer in (("onprem", settings.cloud.cluster.name), ("cloud", settings.onprem.cluster.name)):
        whole = {host.name: {peer: True} for host in sites.one(settings, site).hosts}
        wait_for(
            f"the mesh on {site}", lambda site=site, whole=whole: mesh_state(environment, site) == whole, seconds=120
        )


def test_every_agent_knows_the_other_cluster(environment: str, settings: Environment) -> None:
    wait_for_mesh(environment, settings)


@pytest.mark.parametrize(("home", "away_site"), [("onprem", "cloud"), ("cloud", "onprem")])
def test_without_a_pod_at_home_the_other_site_answers_and_requests_come_home_again(
    environment: str, ingress: str, cloud_ingress: str, home: str, away_site: str
) -> None:
    home_ingress = {"onprem": ingress, "cloud": cloud_ingress}[home]
    url, body = f"{home_ingress}/v2/models/digits/infer", a_prediction()
    # An agent whose connection to the mesh was lost, as by the test before, knows of it only after its probes.
    others = {pod["status"]["podIP"] for pod in inference_pods(environment, away_site)}
    wait_for(
        f"agents on {home} know the pods of {away_site}",
        lambda: all(known >= others for known in known_pods(environment, home).values()),
    )
    with Poller(url, interval=0.1, timeout=5, body=body) as client:
        time.sleep(3)
        with no_pod_at_home(environment, home):
            wait_for("the last pod at home to go", lambda: not inference_pods(environment, home))
            switched = wait_for("an answer from the other site", lambda: _answers(url, body))
            before = predictions(environment, away_site)
            with Poller(url, interval=0.1, timeout=5, body=body) as away:
                for index in range(0, 50, 10):
                    here, there = predict.predict(ingress, index), predict.predict(cloud_ingress, index)
                    assert (here.version, here.digest, here.answer) == (there.version, there.digest, there.answer)
                time.sleep(20)
            assert predictions(environment, away_site) - before >= away.answered, "who else has answered?"
        with Poller(url, interval=0.1, timeout=5, body=body) as back:
            before = predictions(environment, home)
            came = wait_for("requests at home", lambda: predictions(environment, home) > before)
            time.sleep(10)
    print(
        f"no pod on {home}: {client.answered} answers, {client.failed} failed, longest gap {client.longest:.2f} s; "
        f"the other site answered {switched:.1f} s after the last pod went; codes {client.codes}"
    )
    print(
        f"away: {away.answered} answers, gap {away.longest:.2f} s; at home again {came:.1f} s after the pods were ready"
    )
    assert client.longest < SWITCH_S
    assert away.failed == 0, f"after the switch: {away.codes}"
    assert back.failed == 0, f"on the way home: {back.codes}"
    settled = predictions(environment, away_site)
    with Poller(url, interval=0.1, timeout=5, body=body):
        time.sleep(5)
    assert predictions(environment, away_site) == settled, "at home somebody serves: nothing is to leave the site"


def _answers(url: str, body: str) -> bool:
    try:
        return httpx.post(url, content=body, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_host_that_tells_the_other_site_may_be_lost(
    environment: str, settings: Environment, power: Callable[[str, str], None]
) -> None:
    network = settings.onprem.network
    telling = cluster.items(environment, "pods", "-n", mesh.NAMESPACE, "-l", f"app.kubernetes.io/name={mesh.APP}")
    hosts = {pod["spec"]["nodeName"] for pod in telling}
    assert len(hosts) == 2, "on two hosts"
    # The link stays where it is.
    lost = next(host for host in sorted(hosts) if host != holder(settings, str(network.api_address)))
    gone = next(pod for pod in inference_pods(environment, "onprem") if pod["spec"]["nodeName"] != lost)
    wait_for(
        "agents of the other site know a pod",
        lambda: all(gone["status"]["podIP"] in known for known in known_pods(environment, "cloud").values()),
    )
    power(lost, "power-off")
    start = time.monotonic()
    wait_for("an API server that is left", lambda: _deleted(environment, gone))
    wait_for(
        "they know that it went",
        lambda: not any(gone["status"]["podIP"] in known for known in known_pods(environment, "cloud").values()),
        TOLD_S,
    )
    print(f"{lost} lost power: {time.monotonic() - start:.0f} s later the other site knew that a pod had gone since")


def _deleted(environment: str, pod: dict) -> bool:
    try:
        cluster.kubectl(environment, "delete", "pod", "-n", "workloads", pod["metadata"]["name"], "--wait=false")
    except Failure:
        return False
    return True


def test_a_lost_peer_is_told_on_both_sites(environment: str, settings: Environment) -> None:
    assert settings.cloud is not None
    peers = {"onprem": settings.cloud.cluster.name, "cloud": settings.onprem.cluster.name}
    hosts = {site: len(sites.one(settings, site).hosts) for site in peers}
    wait_for_mesh(environment, settings)
    with (
        watching.api(environment, "onprem", "svc/prometheus", names.PROMETHEUS_PORT) as here,
        watching.api(environment, "cloud", "svc/prometheus", names.PROMETHEUS_PORT) as there,
    ):

        def told(how: str) -> dict[str, int]:
            """Site -> how many of its hosts have lost the other one, by the alert in that state."""
            lost = {}
            for site, api in (("onprem", here), ("cloud", there)):
                about = [
                    one
                    for one in api.get("/api/v1/alerts")["data"]["alerts"]
                    if one["labels"].items() >= {("alertname", "MeshPeerLost"), ("target_cluster", peers[site])}
                    and one["state"] == how
                ]
                lost[site] = int(float(about[0]["value"])) if about else 0
            return lost

        nothing = dict.fromkeys(peers, 0)
        watching.eventually(60, lambda: told("firing") == nothing or None, lambda: str(told("firing")))
        cut = time.monotonic()
        machines.power(environment, vpn(settings), "cut")
        try:
            watching.eventually(PEER_TOLD_S, lambda: told("firing") == hosts or None, lambda: str(told("firing")))
            took = time.monotonic() - cut
        finally:
            machines.power(environment, vpn(settings), "heal")
        healed = time.monotonic()
        watching.eventually(PEER_TOLD_S, lambda: told("firing") == nothing or None, lambda: str(told("firing")))
        print(
            f"all agents' loss told {took:.0f} s after the cut, over {time.monotonic() - healed:.0f} s after it healed"
        )


def test_a_cut_link_leaves_each_site_whole_also_when_an_agent_starts_meanwhile(
    environment: str, settings: Environment, ingress: str, cloud_ingress: str
) -> None:
    far_end, body = vpn(settings), a_prediction()
    urls = {site: f"{at}/v2/models/digits/infer" for site, at in (("onprem", ingress), ("cloud", cloud_ingress))}
    with (
        Poller(urls["onprem"], interval=0.1, timeout=5, body=body) as here,
        Poller(urls["cloud"], interval=0.1, timeout=5, body=body) as there,
    ):
        machines.power(environment, far_end, "cut")
        try:
            time.sleep(10)
            for site in urls:
                agents = ("-n", "kube-system", "-l", "k8s-app=cilium")
                pod = cluster.items(environment, "pods", *agents, site=site)[0]["metadata"]["name"]
                cluster.kubectl(environment, "delete", "pod", "-n", "kube-system", pod, timeout=90, site=site)
                rollout = ("rollout", "status", "daemonset/cilium", "-n", "kube-system", "--timeout=120s")
                start = time.monotonic()
                cluster.kubectl(environment, *rollout, timeout=130, site=site)
                print(f"{site}: an agent was ready {time.monotonic() - start:.0f} s after it started without the link")
                # A pod that is new gets its network without the other site, too.
                name = inference_pods(environment, site)[0]["metadata"]["name"]
                cluster.kubectl(environment, "delete", "pod", name, "-n", "workloads", "--wait=false", site=site)
                rollout = ("rollout", "status", "deployment/inference", "-n", "workloads", "--timeout=180s")
                cluster.kubectl(environment, *rollout, timeout=190, site=site)
        finally:
            machines.power(environment, far_end, "heal")
    for site, client in (("on-prem", here), ("cloud", there)):
        print(f"{site}, its link cut: {client.answered} answers, {client.failed} failed, gap {client.longest:.2f} s")
        assert client.failed == 0, client.codes
    wait_for_mesh(environment, settings)


def test_pods_of_one_site_do_not_reach_those_of_the_other(environment: str, settings: Environment) -> None:
    """Not even those that pass for an app that is let in on the other site: there it is another cluster's."""
    targets: dict[str, Target] = {}
    for app, namespace, port in (("inference", "workloads", INGRESS_POD_PORT), ("kube-dns", "kube-system", 53)):
        label = "k8s-app" if app == "kube-dns" else "app.kubernetes.io/name"
        pods = cluster.items(environment, "pods", "-n", namespace, "-l", f"{label}={app}", site="cloud")
        targets[app] = (next(pod["status"]["podIP"] for pod in pods if cluster.ready(pod)), port, "tcp")
    host = settings.onprem.workers()[0].name
    places: list[tuple[str, str, str | None]] = [(host, "workloads", None), (host, "workloads", "training")]
    if settings.platform.monitoring:
        places.append((host, names.NAMESPACE, names.PROMETHEUS))
    with running(environment, *places) as made:
        time.sleep(5)
        reached = {place: probe.reached(targets) for place, probe in zip(places, made, strict=True)}
    assert not any(reached.values()), reached
    # The pods are where the test believes them to be: a host of the site is let in, for its load balancer.
    address, port, _ = targets["inference"]
    assert reaches(host, f"http://{address}:{port}")
