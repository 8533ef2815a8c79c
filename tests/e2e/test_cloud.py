"""The cloud half as its users see it: the same model on both sites, and capacity that comes and goes under load."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config

from infra import addressing
from infra.cloud import lab_site
from infra.environment import Environment
from infra.naming import INGRESS_POD_PORT
from infra.platform.monitoring import names
from infra.settings import environment_file
from ops import cluster, engine, machines, predict, sites
from tests.cluster import watching
from tests.cluster.probes import Target, running
from tests.cluster.watching import Api
from tests.e2e import polling
from tests.e2e.polling import Poller
from tests.e2e.work import object_store, train

ALIAS_KEY = "models/digits/aliases/champion.json"
ARRIVES_S = 60.0
"""Longest that a new champion may take to the other site; polls of replication and of serving, and the copy itself."""


@pytest.fixture(scope="module")
def cloud_ingress(settings: Environment) -> str:
    return addressing.ingress_url(sites.one(settings, "cloud").network)


@pytest.fixture(scope="module")
def aws(settings: Environment) -> Callable[[str], object]:
    """boto3's client of a service, at the lab's AWS API."""
    assert settings.cloud is not None
    return lambda service: boto3.client(
        service,
        endpoint_url=f"http://{lab_site.aws_api(settings.cloud)}:5000",
        region_name=settings.cloud.region,
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
        config=Config(s3={"addressing_style": "path"}),
    )


def served(ingress: str) -> str:
    """The version that a site serves."""
    return httpx.get(f"{ingress}/v2/models/digits", timeout=5).json()["versions"][0]


def wait_for(what: str, holds: Callable[[], bool], seconds: float = ARRIVES_S) -> float:
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.5)
    return time.monotonic() - start


def test_both_sites_serve_the_same_digest_and_give_the_same_answers(ingress: str, cloud_ingress: str) -> None:
    for index in range(0, 100, 5):
        here, there = predict.predict(ingress, index), predict.predict(cloud_ingress, index)
        assert (here.version, here.digest) == (there.version, there.digest)
        assert (here.answer, here.probability) == (there.answer, there.probability), f"digit {index}"


def test_make_predict_asks_the_cloud_site(make, cloud_ingress: str) -> None:
    said = make("predict", "SITE=cloud", "INDEX=3").stdout
    assert cloud_ingress in said and "sha256:" in said


def test_make_env_opens_the_cloud_sites_cluster(make) -> None:
    assert "kubeconfig-cloud.yaml" in make("-s", "env", "SITE=cloud").stdout


def test_the_aws_api_holds_what_the_environment_says(settings: Environment, aws) -> None:
    cloud = settings.cloud
    assert cloud is not None
    found = aws("eks").describe_cluster(name=cloud.cluster.name)["cluster"]
    assert found["version"] == cloud.kubernetes_version
    groups = aws("eks").list_nodegroups(clusterName=cloud.cluster.name)["nodegroups"]
    assert set(groups) == {group.name for group in cloud.node_groups}
    for group in cloud.node_groups:
        made = aws("eks").describe_nodegroup(clusterName=cloud.cluster.name, nodegroupName=group.name)["nodegroup"]
        assert made["scalingConfig"] == {"minSize": group.min, "desiredSize": group.desired, "maxSize": group.max}
        assert made["instanceTypes"] == list(group.instance_types)
    vpcs = aws("ec2").describe_vpcs(Filters=[{"Name": "cidr", "Values": [str(cloud.network.cidr)]}])["Vpcs"]
    assert len(vpcs) == 1
    buckets = [bucket["Name"].rpartition("-")[0] for bucket in aws("s3").list_buckets()["Buckets"]]
    assert sorted(buckets) == ["backups", "models"]


def test_what_somebody_changed_in_the_account_is_reported_and_healed(
    settings: Environment, aws, make, environment
) -> None:
    cloud = settings.cloud
    assert cloud is not None
    group = cloud.node_groups[0]
    there = {"clusterName": cloud.cluster.name, "nodegroupName": group.name}
    changed = {"minSize": group.min, "desiredSize": group.desired, "maxSize": group.max + 1}
    aws("eks").update_nodegroup_config(**there, scalingConfig=changed)
    engine.pulumi(environment, "refresh", "--yes", "--target=**NodeGroup::*", "--skip-preview", "--stack", environment)
    said = make("preview").stdout
    assert "maxSize" in said
    make("up")
    assert aws("eks").describe_nodegroup(**there)["nodegroup"]["scalingConfig"]["maxSize"] == group.max


@dataclass(frozen=True)
class Champions:
    """What the alias `champion` of the on-prem store says of the model that is served, and of one just trained."""

    first: str
    newer: str
    aliases: dict[str, bytes]

    def promote(self, environment: str, version: str) -> None:
        with object_store(environment) as s3:
            s3.put_object(Bucket="models", Key=ALIAS_KEY, Body=self.aliases[version])


@pytest.fixture(scope="module")
def champions(environment: str, ingress: str) -> Champions:
    with object_store(environment) as s3:
        before = s3.get_object(Bucket="models", Key=ALIAS_KEY)["Body"].read()
    first = json.loads(before)["version"]
    train(environment, seed=23)
    with object_store(environment) as s3:
        # should it be the better one, it has been promoted already
        s3.put_object(Bucket="models", Key=ALIAS_KEY, Body=before)
        listed = s3.list_objects_v2(Bucket="models", Prefix="models/digits/versions/")["Contents"]
        manifests = sorted(one["Key"] for one in listed if one["Key"].endswith("manifest.json"))
        other = next(one for one in manifests if first not in one)
        content = s3.get_object(Bucket="models", Key=other)["Body"].read()
    wait_for("the first model on-prem", lambda: served(ingress) == first)
    newer = json.loads(content)["version"]
    alias = {"version": newer, "manifest_digest": f"sha256:{hashlib.sha256(content).hexdigest()}"}
    return Champions(first=first, newer=newer, aliases={first: before, newer: json.dumps(alias).encode()})


def test_a_newer_champion_arrives_at_the_other_site_by_itself(
    environment: str, ingress: str, cloud_ingress: str, champions: Champions
) -> None:
    wait_for("the first model on both sites", lambda: served(ingress) == served(cloud_ingress) == champions.first)
    try:
        champions.promote(environment, champions.newer)
        seconds = wait_for("the newer model on the cloud site", lambda: served(cloud_ingress) == champions.newer)
        print(f"a new champion was served in the cloud {seconds:.1f} s after its promotion on-prem")
    finally:
        champions.promote(environment, champions.first)
    wait_for("the first champion on both sites", lambda: served(ingress) == served(cloud_ingress) == champions.first)


def test_nothing_but_the_link_joins_the_sites_and_without_it_both_serve_on(
    environment: str, settings: Environment, ingress: str, cloud_ingress: str, champions: Champions
) -> None:
    far_end, node = vpn(settings), sites.one(settings, "cloud").hosts[0].name
    assert reaches(node, ingress)
    with Poller(f"{ingress}/v2/health/ready", interval=0.1, timeout=2) as here:  # noqa: SIM117
        with Poller(f"{cloud_ingress}/v2/health/ready", interval=0.1, timeout=2) as there:
            machines.power(environment, far_end, "cut")
            try:
                assert not reaches(node, ingress), "there is another way between the sites"
                champions.promote(environment, champions.newer)
                wait_for("the newer model on-prem", lambda: served(ingress) == champions.newer)
                time.sleep(10)
                assert served(cloud_ingress) == champions.first
            finally:
                machines.power(environment, far_end, "heal")
            try:
                healed = wait_for("the link", lambda: reaches(node, ingress))
                arrived = wait_for("the newer model there", lambda: served(cloud_ingress) == champions.newer)
            finally:
                champions.promote(environment, champions.first)
            wait_for("the first model there", lambda: served(cloud_ingress) == champions.first)
    print(f"the link carried again {healed:.1f} s after it healed, the newer champion came {arrived:.1f} s later")
    for site, client in (("on-prem", here), ("cloud", there)):
        print(f"{site}, its link cut: {client.answered} answers, {client.failed} failed, gap {client.longest:.2f} s")
        assert client.failed == 0, client.codes


TOLD_S, OVER_S = 200.0, 120.0
"""Longest from a cut to its alert, which waits two and a half minutes, and from when the link carries to its end."""


def test_the_view_answers_for_both_sites(environment: str, settings: Environment) -> None:
    assert settings.cloud is not None
    clusters = {settings.onprem.cluster.name, settings.cloud.cluster.name}
    with watching.view(environment) as view:
        watching.eventually(
            180, lambda: clusters == heard(view) or None, lambda: f"heard of {heard(view)}, not of {clusters}"
        )
        targets = view.query(f'up{{cluster="{settings.cloud.cluster.name}"}}')
    jobs = {one["metric"]["job"] for one in targets}
    assert {"prometheus", "alive", "node", "inference", "replication", "api-server"} <= jobs
    assert {one["metric"]["prometheus_replica"] for one in targets} == {"prometheus-0"}


def test_a_cut_link_is_told_and_what_was_measured_meanwhile_arrives_afterwards(
    environment: str, settings: Environment, ingress: str
) -> None:
    assert settings.cloud is not None and settings.platform.monitoring
    far, far_end, node = settings.cloud.cluster.name, vpn(settings), sites.one(settings, "cloud").hosts[0].name
    hole_s = 2 * settings.platform.monitoring.scrape_seconds
    with watching.view(environment) as view:

        def state() -> str:
            about = [
                one
                for one in view.get("/api/v1/alerts")["data"]["alerts"]
                if one["labels"].items() >= {("alertname", "LinkDown"), ("cluster", far)}
            ]
            return about[0]["state"] if about else "none"

        watching.eventually(180, lambda: far in heard(view) or None, lambda: f"heard of {heard(view)}")
        watching.eventually(60, lambda: state() == "none" or None, state)
        before = time.time() - 2 * hole_s
        cut = time.monotonic()
        machines.power(environment, far_end, "cut")
        try:
            watching.eventually(TOLD_S, lambda: state() == "firing" or None, state)
            told = time.monotonic() - cut
            with watching.api(environment, "onprem", "svc/alertmanager", names.ALERTMANAGER_PORT) as alertmanager:
                watching.eventually(
                    60,
                    lambda: alertmanager.get("/api/v2/alerts", filter='alertname="LinkDown"') or None,
                    lambda: "Alertmanager knows of no LinkDown",
                )
            missing = longest_hole(view, far, before)
        finally:
            machines.power(environment, far_end, "heal")
        wait_for("the link", lambda: reaches(node, ingress))
        healed = time.monotonic()
        watching.eventually(OVER_S, lambda: state() == "none" or None, state)
        over = time.monotonic() - healed
        watching.eventually(
            OVER_S,
            lambda: longest_hole(view, far, before) <= hole_s or None,
            lambda: f"longest hole {longest_hole(view, far, before):.0f} s",
        )
        left = longest_hole(view, far, before)
    print(f"told {told:.0f} s after the cut, over {over:.0f} s after the link was back")
    print(f"longest hole in what the view has of {far}: {missing:.0f} s during the cut, {left:.0f} s afterwards")
    assert missing > 100, "something came through, or nothing was asked"


def heard(view: Api) -> set[str]:
    """Clusters of which the view has a sample of the last half minute."""
    found = view.query("time() - max by (cluster) (timestamp(up)) < 30")
    return {one["metric"]["cluster"] for one in found}


def longest_hole(view: Api, far: str, since: float) -> float:
    """Seconds between samples of a site's hosts, the worst of all series, from `since` (Unix time) to now."""
    now = time.time()
    found = view.query(f'up{{cluster="{far}", job="node"}}[{now - since:.0f}s]', time=str(now))
    assert found, f"the view has nothing of {far}"
    return max(
        after - before
        for series in found
        for before, after in pairwise([since, *(float(at) for at, _ in series["values"]), now])
    )


def test_one_of_the_two_tunnels_may_be_lost(settings: Environment, ingress: str) -> None:
    far_end = vpn(settings)

    def tunnels() -> int:
        return machines.run(far_end, "swanctl", "--list-sas").count("INSTALLED")

    def lose(seconds: float) -> None:
        machines.run(far_end, "ip", "link", "set", "eth1", "down")
        try:
            time.sleep(seconds)
        finally:
            machines.run(far_end, "ip", "link", "set", "eth1", "up")

    # With ESP in user space the tunnel that came last carries what goes through: now it is the one over eth1.
    lose(10)
    wait_for("both tunnels", lambda: tunnels() == 2)
    with polled_from(sites.one(settings, "cloud").hosts[0].name, f"{ingress}/v2/health/ready", 20) as answers:
        time.sleep(3)
        lose(14)
    print(f"the tunnel in use was lost: longest gap {answers['longest']:.2f} s; answers {answers['codes']}")
    assert 0.5 < answers["longest"] < 12, "was it the tunnel in use?"
    wait_for("both tunnels", lambda: tunnels() == 2)


def test_the_link_moves_with_the_floating_address(settings: Environment, power, ingress: str) -> None:
    address = str(settings.onprem.network.api_address)
    first = next(
        host.name
        for host in settings.onprem.hosts
        if f" {address}/" in machines.run(host.name, "ip", "-o", "-4", "addr", "show")
    )
    with polled_from(sites.one(settings, "cloud").hosts[0].name, f"{ingress}/v2/health/ready", 20) as answers:
        time.sleep(3)
        power(first, "power-off")
        time.sleep(15)
    print(f"{first} lost power: longest gap through the link {answers['longest']:.2f} s; answers {answers['codes']}")
    assert answers["longest"] < 15


def vpn(settings: Environment) -> str:
    """The machine on which the tunnels end."""
    assert settings.cloud is not None
    return lab_site.vpn_name(settings.cloud)


def reaches(machine: str, url: str) -> bool:
    """Whether what the machine asks comes through."""
    ask = ("curl", "-s", "-o", "/dev/null", "-m", "3", "-w", "%{http_code}", f"{url}/v2/health/ready")
    return machines.run(machine, "sh", "-c", f"{shlex.join(ask)} || true").strip() == "200"


@contextmanager
def polled_from(machine: str, url: str, seconds: int) -> Iterator[dict]:
    """Polls from a machine for that long, in which the caller breaks something; the answers are there afterwards."""
    source = Path(polling.__file__).read_text()
    after = f"""
import json
with Poller({url!r}, interval=0.05) as client:
    time.sleep({seconds})
print(json.dumps({{"longest": client.longest, "codes": client.codes, "answered": client.answered}}))
"""
    answers: dict = {}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(machines.run, machine, "python3", "-c", source + after)
        yield answers
        answers.update(json.loads(asked.result()))
    assert answers["answered"] > 0


@contextmanager
def desired(environment: str, group: str, count: int) -> Iterator[None]:
    """The environment file with another size of a node group; as it was afterwards."""
    path = environment_file(environment)
    text = path.read_text()
    head, found, tail = text.partition(f"- name: {group}\n")
    assert found
    changed = tail.replace("desired: 1", f"desired: {count}", 1)
    assert changed != tail
    path.write_text(head + found + changed)
    try:
        yield
    finally:
        path.write_text(text)


def test_a_node_group_grows_and_shrinks_under_load_without_a_failed_request(
    environment: str, make, cloud_ingress: str
) -> None:
    def replicas() -> list[dict]:
        selector = ("-n", "workloads", "-l", "app.kubernetes.io/name=inference")
        return cluster.items(environment, "pods", *selector, site="cloud")

    def serving_nodes() -> set[str]:
        return {pod["spec"].get("nodeName", "") for pod in replicas() if cluster.ready(pod)}

    def nodes() -> dict[str, bool]:
        found = cluster.items(environment, "nodes", site="cloud")
        return {node["metadata"]["name"]: cluster.ready(node) for node in found}

    # Predictions, not the readiness: a replica that drains says that it is not ready, and answers all the same.
    with Poller(f"{cloud_ingress}/v2/models/digits/infer", interval=0.1, timeout=5, body=a_prediction()) as client:
        with desired(environment, "general", 2):
            start = time.monotonic()
            make("up")
            print(f"a second node was added in {time.monotonic() - start:.0f} s")
            assert nodes()["cloud-general-2"]
            # A replica that is replaced goes to the new node, so that its drain has something to move.
            name = replicas()[0]["metadata"]["name"]
            cluster.kubectl(environment, "delete", "pod", name, "-n", "workloads", "--wait=false", site="cloud")
            wait_for("a replica on the new node", lambda: "cloud-general-2" in serving_nodes())
        start = time.monotonic()
        make("up")
        print(f"it was drained and removed in {time.monotonic() - start:.0f} s")
    assert "cloud-general-2" not in nodes()
    assert "cloud-general-2" not in machines.statuses(environment)
    print(f"{client.answered} requests meanwhile, {client.failed} failed, longest gap {client.longest:.2f} s")
    assert client.failed == 0, client.codes


# ---- the mesh: what one site cannot answer, the other one does

SWITCH_S = 15.0
"""Longest that requests may fail when the last pod at home has gone: load balancers' checks, and an agent's turn."""


def mesh_state(environment: str, site: str) -> dict[str, dict[str, bool]]:
    """Host -> other cluster -> whether its agent knows all of that."""
    found = {}
    for pod in cluster.items(environment, "pods", "-n", "kube-system", "-l", "k8s-app=cilium", site=site):
        where = ("-n", "kube-system", pod["metadata"]["name"], "-c", "cilium-agent")
        asked = ("exec", *where, "--", "cilium-dbg", "status", "--output", "json")
        status = json.loads(cluster.kubectl(environment, *asked, site=site, timeout=60))
        known = (status.get("cluster-mesh") or {}).get("clusters") or []
        found[pod["spec"]["nodeName"]] = {one["name"]: one.get("ready", False) for one in known}
    return found


def inference_pods(environment: str, site: str) -> list[dict]:
    selector = ("-n", "workloads", "-l", "app.kubernetes.io/name=inference")
    return cluster.items(environment, "pods", *selector, site=site)


def predictions(environment: str, site: str) -> int:
    """How many predictions the pods that a site has now have made."""
    total = 0
    for pod in inference_pods(environment, site):
        path = f"/api/v1/namespaces/workloads/pods/{pod['metadata']['name']}:8080/proxy/metrics"
        for line in cluster.kubectl(environment, "get", "--raw", path, site=site).splitlines():
            if line.startswith("isthmus_inference_requests_total{"):
                total += int(float(line.rpartition(" ")[2]))
    return total


def a_prediction() -> str:
    """The body of a request that has to be worked on; a readiness check says nothing of who answers."""
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": predict.held_out()[0][0].tolist()}
    return json.dumps({"inputs": [tensor]})


@contextmanager
def no_pod_at_home(environment: str) -> Iterator[None]:
    """On-prem nobody serves; as many do afterwards as before, and each of them is ready.

    A `make up` meanwhile would not know of it: the engine compares with what it has sent, not with what is there.
    """
    deployment = ("deployment/inference", "-n", "workloads")
    before = cluster.kubectl(environment, "get", *deployment, "-o", "jsonpath={.spec.replicas}")
    try:
        cluster.kubectl(environment, "scale", *deployment, "--replicas=0")
        yield
    finally:
        cluster.kubectl(environment, "scale", *deployment, f"--replicas={before}")
        cluster.kubectl(environment, "rollout", "status", *deployment, "--timeout=120s", timeout=130)


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


def test_without_a_pod_at_home_the_other_site_answers_and_requests_come_home_again(
    environment: str, ingress: str, cloud_ingress: str
) -> None:
    url, body = f"{ingress}/v2/models/digits/infer", a_prediction()
    with Poller(url, interval=0.1, timeout=5, body=body) as client:
        time.sleep(3)
        with no_pod_at_home(environment):
            wait_for("the last pod at home to go", lambda: not inference_pods(environment, "onprem"))
            switched = wait_for("an answer from the other site", lambda: _answers(url, body))
            before = predictions(environment, "cloud")
            with Poller(url, interval=0.1, timeout=5, body=body) as away:
                for index in range(0, 50, 10):
                    here, there = predict.predict(ingress, index), predict.predict(cloud_ingress, index)
                    assert (here.version, here.digest, here.answer) == (there.version, there.digest, there.answer)
                time.sleep(20)
            assert predictions(environment, "cloud") - before >= away.answered, "who else has answered?"
        with Poller(url, interval=0.1, timeout=5, body=body) as back:
            home = predictions(environment, "onprem")
            came = wait_for("requests at home", lambda: predictions(environment, "onprem") > home)
            time.sleep(10)
    print(
        f"no pod at home: {client.answered} answers, {client.failed} failed, longest gap {client.longest:.2f} s; "
        f"the other site answered {switched:.1f} s after the last pod went; codes {client.codes}"
    )
    print(
        f"away: {away.answered} answers, gap {away.longest:.2f} s; at home again {came:.1f} s after the pods were ready"
    )
    assert client.longest < SWITCH_S
    assert away.failed == 0, f"after the switch: {away.codes}"
    assert back.failed == 0, f"on the way home: {back.codes}"
    settled = predictions(environment, "cloud")
    with Poller(url, interval=0.1, timeout=5, body=body):
        time.sleep(5)
    assert predictions(environment, "cloud") == settled, "at home somebody serves: nothing is to leave the site"


def _answers(url: str, body: str) -> bool:
    try:
        return httpx.post(url, content=body, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


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
