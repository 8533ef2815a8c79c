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


def train(environment: str, seed: int, seconds: float = 240) -> dict:
    """Runs the site's own training Job once more with another seed, and returns the finished Job."""
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
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = json.loads(cluster.kubectl(environment, "get", "job", name, "-n", "workloads", "-o", "json"))
        done = {c["type"] for c in found["status"].get("conditions", []) if c["status"] == "True"}
        if "Complete" in done:
            return found
        if "Failed" in done:
            break
        time.sleep(1)
    logs = cluster.kubectl(environment, "logs", f"job/{name}", "-n", "workloads", "--tail=30")
    raise AssertionError(f"training run {name} did not complete:\n{logs}")


@contextmanager
def object_store(environment: str) -> Iterator:
    """An S3 client of the site's object store, through one of its pods that runs on a ready node."""
    secret = json.loads(
        cluster.kubectl(environment, "get", "secret", "object-store-credentials", "-n", "workloads", "-o", "json")
    )["data"]
    key, value = (base64.b64decode(secret[name]).decode() for name in ("access_key_id", "secret_access_key"))
    nodes = {n["metadata"]["name"] for n in cluster.items(environment, "nodes") if cluster.ready(n)}
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
    try:
        assert forward.stdout is not None
        line = forward.stdout.readline()  # "Forwarding from 127.0.0.1:40123 -> 3900"
        port = line.split("127.0.0.1:")[1].split()[0]
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


def round_trip(environment: str, count: int = 20) -> None:
    """Writes objects, reads them back, compares them, and removes them."""
    with object_store(environment) as s3:
        for number in range(count):
            key, body = f"tests/{uuid.uuid4().hex}", os.urandom(4096)
            s3.put_object(Bucket="models", Key=key, Body=body)
            assert s3.get_object(Bucket="models", Key=key)["Body"].read() == body, f"object {number} came back changed"
            s3.delete_object(Bucket="models", Key=key)
