"""The floating addresses from within: a pod reaches both, and the other site, whether its node holds them or not."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from infra import addressing
from infra.environment import Environment
from ops import cluster, sites
from ops.up import load

SCRIPT = """
import ssl, sys, urllib.request
trust = ssl._create_unverified_context()
for url in sys.argv[1:]:
    print(url, urllib.request.urlopen(url, timeout=10, context=trust).status)
"""


@pytest.fixture(scope="module")
def settings(environment: str) -> Environment:
    return load(environment)


@pytest.fixture
def namespace(environment: str):
    """A namespace without policies, gone afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl(environment, "create", "namespace", name)
    yield name
    cluster.kubectl(environment, "delete", "namespace", name, timeout=120)


def test_a_pod_on_every_node_reaches_both_addresses_and_the_other_site(
    environment: str, settings: Environment, namespace: str, tmp_path
) -> None:
    network = settings.onprem.network
    urls = [
        f"https://{network.api_address}:{network.api_port}/readyz",
        # The holder of the API's address runs the tunnels: its own pods' packets go into them another way than others'.
        *(f"{addressing.ingress_url(site.network)}/v2/health/ready" for site in sites.of(settings).values()),
    ]
    served = cluster.items(environment, "pods", "-n", "workloads", "-l", "app.kubernetes.io/name=inference")[0]
    nodes = {host.name for host in settings.onprem.having("worker")}
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": node, "namespace": namespace},
            "spec": {
                "nodeName": node,
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "client",
                        "image": served["spec"]["containers"][0]["image"],
                        "command": ["/usr/bin/python3.11", "-c", SCRIPT, *urls],
                    }
                ],
            },
        }
        for node in nodes
    ]
    manifest = tmp_path / "pods.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    cluster.kubectl(environment, "create", "-f", str(manifest))
    deadline = time.monotonic() + 90
    while True:
        phases = {
            pod["metadata"]["name"]: pod["status"].get("phase")
            for pod in cluster.items(environment, "pods", "-n", namespace)
        }
        if not {"Pending", "Running", None} & set(phases.values()) or time.monotonic() > deadline:
            break
        time.sleep(1)
    said = {node: cluster.kubectl(environment, "logs", node, "-n", namespace) for node in nodes}
    assert phases == dict.fromkeys(nodes, "Succeeded"), said
