"""What the site's users do, done by the tests: a training run, and reads and writes of the object store."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.config import Config

from infra.paths import state
from ops import cluster, engine

WRITE_DATA = """
import numpy, sklearn.datasets
images, labels = sklearn.datasets.load_digits(return_X_y=True)
numpy.savez("/data/digits.npz", images=images, labels=labels)
"""


TARRIES_S = 20
FINISHES_S = 240
"""A run, also one whose host is lost meanwhile."""
TARRYING_S = 60
"""Until a run that tarries has begun to."""
OBJECTS = 20


def train(environment: str, seed: int, *, data: str | None = None, write: bool = False) -> dict:
    """Runs the site's own training Job once more with another seed, and returns the Job once it has succeeded.

    `data` is a claim: the run reads its data set from that volume, and puts it there first if it is to `write`.
    """
    return finished(environment, begin(environment, seed, data=data, write=write))


def begin(
    environment: str, seed: int, *, data: str | None = None, write: bool = False, tarries_on: str | None = None
) -> str:
    """Starts the run and returns its Job's name.

    With `tarries_on` it runs on that host while the host is well, and does nothing for a while first, so that there is
    time to do something to the host.
    """
    job = next(j for j in cluster.items(environment, "jobs", "-n", "workloads") if "training" in j["metadata"]["name"])
    name = f"training-test-{uuid.uuid4().hex[:6]}"
    spec = job["spec"]
    spec.pop("selector", None)
    template = spec["template"]
    labels = template["metadata"]["labels"]
    template["metadata"]["labels"] = {
        k: v for k, v in labels.items() if "controller-uid" not in k and "job-name" not in k
    }
    for variable in template["spec"]["containers"][0]["env"]:
        if variable["name"] == "ISTHMUS_SEED":
            variable["value"] = str(seed)
    if data:
        _with_data(template["spec"], data, write)
    if tarries_on:
        _tarrying(template["spec"], tarries_on)
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "workloads"},
        "spec": {**spec, "ttlSecondsAfterFinished": 600},
    }
    path = state(environment) / f"{name}.json"
    path.write_text(json.dumps(manifest))
    try:
        cluster.kubectl(environment, "create", "-f", str(path))
    finally:
        path.unlink()
    return name


def finished(environment: str, name: str) -> dict:
    """The Job of a run, once that has succeeded."""
    deadline = time.monotonic() + FINISHES_S
    while time.monotonic() < deadline:
        found = json.loads(cluster.kubectl(environment, "get", "job", name, "-n", "workloads", "-o", "json"))
        done = {c["type"] for c in found["status"].get("conditions", []) if c["status"] == "True"}
        # It is called Complete only when the host of each of its pods says that the pod ended, a lost host too.
        if done & {"SuccessCriteriaMet", "Complete"}:
            return found
        if "Failed" in done:
            break
        time.sleep(1)
    of_it = ("-n", "workloads", "-l", f"batch.kubernetes.io/job-name={name}")
    pods = cluster.kubectl(environment, "get", "pods", "-o", "wide", *of_it)
    logs = cluster.kubectl(environment, "logs", "--ignore-errors", "--prefix", "--tail=30", *of_it, timeout=60)
    raise AssertionError(f"training run {name} did not complete:\n{pods}\n{logs}")


def await_tarrying(environment: str, name: str, host: str) -> None:
    """Waits until a run that tarries does so on that host."""
    of_it = ("-n", "workloads", "-l", f"batch.kubernetes.io/job-name={name}")
    deadline = time.monotonic() + TARRYING_S
    while True:
        (pod,) = cluster.items(environment, "pods", *of_it) or [{"spec": {}, "status": {}}]
        states = [one["state"] for one in pod["status"].get("initContainerStatuses", [])]
        if any("running" in state for state in states):
            assert pod["spec"]["nodeName"] == host, "the run is on another host"
            return
        assert time.monotonic() < deadline, f"the run does not start: {pod['status']}"
        time.sleep(0.5)


def _tarrying(pod: dict, host: str) -> None:
    there = {"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}
    wish = {"weight": 100, "preference": {"matchExpressions": [there]}}
    pod["affinity"] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}
    (container,) = pod["containers"]
    alike = {key: container[key] for key in ("image", "resources", "securityContext")}
    command = ["/usr/bin/python3.11", "-c", f"import time; time.sleep({TARRIES_S})"]
    pod["initContainers"] = [{"name": "tarry", "command": command, **alike}]


def _with_data(pod: dict, claim: str, write: bool) -> None:
    """Makes the run's pod read its data set from a volume."""
    (container,) = pod["containers"]
    pod["volumes"].append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
    mount = {"name": "data", "mountPath": "/data"}
    container["volumeMounts"].append({**mount, "readOnly": True})
    container["env"].append({"name": "ISTHMUS_DATA", "value": "/data/digits.npz"})
    if write:
        writer = {key: container[key] for key in ("image", "resources", "securityContext")}
        command = ["/usr/bin/python3.11", "-c", WRITE_DATA]
        mounts = [mount, {"name": "tmp", "mountPath": "/tmp"}]
        pod["initContainers"] = [{"name": "write-data", "command": command, "volumeMounts": mounts, **writer}]


@contextmanager
def object_store(environment: str, *, without: str | None = None) -> Iterator:
    """An S3 client of the site's object store, through one of its pods that runs on a ready node, and not on `without`.

    Just after a loss Kubernetes takes the lost host for ready, and the way to the pod may lead over its API server: it
    is tried again.
    """
    secret = json.loads(
        cluster.kubectl(environment, "get", "secret", "object-store-credentials", "-n", "workloads", "-o", "json")
    )["data"]
    key, value = (base64.b64decode(secret[name]).decode() for name in ("access_key_id", "secret_access_key"))
    deadline = time.monotonic() + 60
    while not (found := _forwarded(environment, without)):
        assert time.monotonic() < deadline, "no way to a pod of the object store"
        time.sleep(1)
    forward, port = found
    try:
        yield boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="garage",
            aws_access_key_id=key,
            aws_secret_access_key=value,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
        )
    finally:
        forward.terminate()
        forward.wait()


def _forwarded(environment: str, without: str | None) -> tuple[subprocess.Popen[str], int] | None:
    """kubectl, and the port here at which it hands on to a pod of the store; None if it could not."""
    nodes = {n["metadata"]["name"] for n in cluster.items(environment, "nodes") if cluster.ready(n)} - {without}
    pod = next(
        p["metadata"]["name"]
        for p in cluster.items(environment, "pods", "-n", "object-store")
        if p["spec"].get("nodeName") in nodes
        and cluster.ready(p)
        and not p["metadata"]["name"].startswith("garage-setup")
    )
    settings = {
        **os.environ,
        **engine.variables(environment),
        "KUBECONFIG": str(state(environment) / "kubeconfig-onprem.yaml"),
    }
    forward = subprocess.Popen(
        ["kubectl", "port-forward", "-n", "object-store", pod, ":3900", "--address", "127.0.0.1"],
        env=settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert forward.stdout is not None
    line = forward.stdout.readline()  # "Forwarding from 127.0.0.1:40123 -> 3900", or nothing if it ended
    if not line:
        forward.wait()
        return None
    return forward, int(line.split("127.0.0.1:")[1].split()[0])


def round_trip(environment: str, *, without: str | None = None) -> None:
    """Writes objects, reads them back, compares them, and removes them; not through a pod on the host `without`."""
    with object_store(environment, without=without) as s3:
        for number in range(OBJECTS):
            key, body = f"tests/{uuid.uuid4().hex}", os.urandom(4096)
            s3.put_object(Bucket="models", Key=key, Body=body)
            assert s3.get_object(Bucket="models", Key=key)["Body"].read() == body, f"object {number} came back changed"
            s3.delete_object(Bucket="models", Key=key)
