"""The cloud half as its users see it: the same model on both sites, and capacity that comes and goes under load."""

from __future__ import annotations

import functools
import subprocess
import time

import pytest

from infra.environment import Environment
from infra.providers.isthmus.podman import Podman
from ops import cluster, engine, machines, predict
from tests import aws_account
from tests.e2e.both_sites import ALIAS_KEY, Champions, a_prediction, edited, served, wait_for
from tests.e2e.polling import Poller


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
    assert aws_account.found(aws) == aws_account.said_by(settings)


def test_what_somebody_changed_in_the_account_is_reported_and_healed(
    settings: Environment, aws, make, environment
) -> None:
    cloud = settings.cloud
    assert cloud is not None
    group = cloud.node_groups[0]
    name = aws_account.node_group(aws("eks"), cloud.cluster.name, group.name)["nodegroupName"]
    there = {"clusterName": cloud.cluster.name, "nodegroupName": name}
    changed = {"minSize": group.min, "desiredSize": group.desired, "maxSize": group.max + 1}
    aws("eks").update_nodegroup_config(**there, scalingConfig=changed)
    engine.pulumi(environment, "refresh", "--yes", "--target=**NodeGroup::*", "--skip-preview", "--stack", environment)
    said = make("preview").stdout
    assert "maxSize" in said
    make("up")
    assert aws("eks").describe_nodegroup(**there)["nodegroup"]["scalingConfig"]["maxSize"] == group.max


def test_a_newer_champion_arrives_at_the_other_site_by_itself(
    ingress: str, cloud_ingress: str, champions: Champions
) -> None:
    champions.settle(ingress, cloud_ingress)
    try:
        champions.promote(champions.newer)
        seconds = wait_for("the newer model on the cloud site", lambda: served(cloud_ingress) == champions.newer)
        print(f"a new champion was served in the cloud {seconds:.1f} s after its promotion on-prem")
    finally:
        champions.promote(champions.first)
    wait_for("the first champion on both sites", lambda: served(ingress) == served(cloud_ingress) == champions.first)


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
        with edited(environment, "- name: general\n", "desired: 1", "desired: 2"):
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


WIDER = {
    "cloud": ("cloud-general-2", "- name: general\n", "desired: 1", "desired: 2"),
    "onprem": (
        "onprem-4",
        "labels: { accelerator: simulated }\n",
        "\ncloud:",
        "    - name: onprem-4\n      address: 10.90.0.14\n      roles: [worker]\n\ncloud:",
    ),
}
"""Site -> a machine that it does not have, and what of the environment file asks for it."""


@pytest.mark.parametrize(("faulty", "other"), [("cloud", "onprem"), ("onprem", "cloud")])
def test_a_failure_on_one_side_leaves_the_other_finished_and_the_next_run_goes_on(
    environment: str, make, faulty: str, other: str
) -> None:
    def replicas(site: str) -> int:
        which = ("-n", "workloads", "-l", "app.kubernetes.io/name=inference")
        (found,) = cluster.items(environment, "deployments", *which, site=site)
        return found["status"].get("readyReplicas", 0)

    podman, (stranger, *change) = Podman.default(), WIDER[faulty]
    neighbour = podman.inspect("onprem-1")
    assert neighbour is not None
    wider = edited(environment, *change)
    more = edited(environment, "  inference:\n", "replicas: 2", "replicas: 3")
    try:
        # Somebody else's container has the name of the machine that is to come.
        subprocess.run(podman.command("create", "--name", stranger, neighbour["Image"]), check=True)
        try:
            with wider, more:
                said = make("up", status=2)
        finally:
            subprocess.run(podman.command("rm", stranger), check=True)
        assert stranger in said.stderr, said.stderr
        assert f"{other} is finished without it" in said.stderr, said.stderr
        assert (replicas(other), replicas(faulty)) == (3, 2), said.stdout[-4000:]
    finally:
        make("up")
    assert (replicas(other), replicas(faulty)) == (2, 2)
    assert stranger not in machines.statuses(environment)


def runs(environment: str, site: str) -> list[dict]:
    """The training Jobs of the environment itself, without those of tests."""
    jobs = cluster.items(environment, "jobs", "-n", "workloads", "-l", "app.kubernetes.io/name=training", site=site)
    return [job for job in jobs if "-test-" not in job["metadata"]["name"]]


def test_training_runs_in_the_cloud_where_the_file_says_so_and_its_models_come_to_the_site(
    environment: str, make, aws, ingress: str, cloud_ingress: str, champions: Champions
) -> None:
    champions.settle(ingress, cloud_ingress)  # and the newer one stays in the cloud's store
    bucket = next(one["Name"] for one in aws("s3").list_buckets()["Buckets"] if one["Name"].startswith("models"))
    promote = functools.partial(aws("s3").put_object, Bucket=bucket, Key=ALIAS_KEY)
    try:
        with edited(environment, "  training:\n", "site: onprem", "site: cloud"):
            make("up")
            try:
                assert runs(environment, "onprem") == []
                assert [run["status"].get("succeeded") for run in runs(environment, "cloud")] == [1]
                # The same seed, code and data: the same model, wherever it is trained.
                assert served(ingress) == served(cloud_ingress) == champions.first
                promote(Body=champions.aliases[champions.newer])
                seconds = wait_for("the cloud's model on-prem", lambda: served(ingress) == champions.newer)
                print(f"a champion of the cloud was served on-prem {seconds:.1f} s after its promotion")
                # Each server looks by its own clock, and the cloud's may look after the copy was.
                wait_for("the cloud's model in the cloud", lambda: served(cloud_ingress) == champions.newer)
            finally:
                promote(Body=champions.aliases[champions.first])
                wait_for("the first model on both", lambda: served(ingress) == served(cloud_ingress) == champions.first)
    finally:
        make("up")  # later tests train on-prem
