"""Data of a training run on a volume: it outlives its pods and its host, and a clone of it trains again."""

from __future__ import annotations

import time

from infra.naming import SHARED_CLASS
from ops import cluster
from tests.cluster.volumes import Volumes
from tests.e2e.work import train

MOVED_S = 180
"""Kubernetes gives a host up and evicts its pods within a minute; the rest is a busy machine."""


def test_data_of_a_training_run_survives_its_pods_and_a_hosts_power_loss_and_a_clone_trains_again(
    environment, power
) -> None:
    inference = cluster.items(environment, "deployments", "-n", "workloads", "-l", "app.kubernetes.io/name=inference")
    image = inference[0]["spec"]["template"]["spec"]["containers"][0]["image"]
    data = Volumes(environment, "onprem", "workloads", image)
    made = ("data", "data-clone")
    try:
        data.claim("data", "100Mi", of=SHARED_CLASS, mode="ReadWriteMany")
        first = train(environment, seed=11, data="data", write=True)
        # The run's pod is gone with its Job: what a new pod reads is what is on the volume.
        data.kubectl("delete", "job", first["metadata"]["name"], "--wait=true", timeout=60)
        deployment(data, "reader", "data")
        written = data.read(reader(data), "digits.npz")
        lost = data.get("pod", reader(data))["spec"]["nodeName"]
        began = time.monotonic()
        power(lost, "power-off")

        def moved() -> bool:
            pods = cluster.items(environment, "pods", "-n", "workloads", "-l", "app.kubernetes.io/name=reader")
            return any(p["spec"].get("nodeName") not in (None, lost) and cluster.ready(p) for p in pods)

        data.until(MOVED_S, moved, f"no pod with the volume runs elsewhere than on {lost}")
        print(f"{lost} lost power; a pod elsewhere has its volume after {time.monotonic() - began:.0f} s")
        assert data.read(reader(data, without=lost), "digits.npz") == written
        data.claim(
            "data-clone", "100Mi", of=SHARED_CLASS, mode="ReadWriteMany", source=("PersistentVolumeClaim", "data")
        )
        train(environment, seed=12, data="data-clone", write=False)
    finally:
        data.kubectl("delete", "deployment", "reader", "--ignore-not-found", "--wait=false")
        for name in made:
            data.kubectl("delete", "pvc", name, "--ignore-not-found", "--wait=false")


def reader(data: Volumes, *, without: str | None = None) -> str:
    """The pod of the Deployment that runs, on another host than the one named."""
    pods = cluster.items(data.environment, "pods", "-n", data.namespace, "-l", "app.kubernetes.io/name=reader")
    return next(p["metadata"]["name"] for p in pods if cluster.ready(p) and p["spec"]["nodeName"] != without)


def deployment(data: Volumes, name: str, claim: str) -> None:
    """One pod that waits with the volume at /data, and that Kubernetes moves when its host is lost."""
    data.pod(f"{name}-template", claim)
    spec = data.get("pod", f"{name}-template")["spec"]
    data.kubectl("delete", "pod", f"{name}-template", "--wait=true", timeout=60)
    kept = ("containers", "volumes", "securityContext", "automountServiceAccountToken", "terminationGracePeriodSeconds")
    labels = {"app.kubernetes.io/name": name}
    template = {"metadata": {"labels": labels}, "spec": {key: spec[key] for key in kept if key in spec}}
    body = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    data.apply("Deployment", name, "apps/v1", spec=body)
    ready = lambda: data.get("deployment", name).get("status", {}).get("readyReplicas") == 1  # noqa: E731
    data.until(120, ready, f"{name} is not ready")
