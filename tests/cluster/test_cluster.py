"""What the platform promises, asked of the cluster's API."""

from __future__ import annotations

import json
import os
import re

import httpx
import pytest

from infra import addressing
from infra.artifacts import Index
from ops import cluster, sites
from ops.up import load

SITES = list(sites.of(load(os.environ.get("ISTHMUS_ENV", "local"))))


@pytest.mark.parametrize("site", SITES)
def test_every_host_is_a_ready_node_of_the_environments_version(environment: str, site: str) -> None:
    settings = load(environment)
    nodes = {n["metadata"]["name"]: n for n in cluster.items(environment, "nodes", site=site)}
    assert set(nodes) == {h.name for h in sites.one(settings, site).hosts}
    for name, node in nodes.items():
        assert cluster.ready(node), name
        assert node["status"]["nodeInfo"]["kubeletVersion"] == settings.kubernetes.version
        assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://2.")


@pytest.mark.parametrize("site", SITES)
def test_kube_proxy_is_replaced(environment: str, site: str) -> None:
    names = [p["metadata"]["name"] for p in cluster.items(environment, "pods", "-n", "kube-system", site=site)]
    assert not [n for n in names if n.startswith("kube-proxy")]
    assert [n for n in names if n.startswith("cilium-")]


@pytest.mark.parametrize("site", SITES)
def test_the_cilium_agent_is_unprivileged(environment: str, site: str) -> None:
    agents = cluster.items(environment, "daemonsets", "-n", "kube-system", "-l", "k8s-app=cilium", site=site)
    containers = agents[0]["spec"]["template"]["spec"]["containers"]
    assert not [c["name"] for c in containers if (c.get("securityContext") or {}).get("privileged")]


@pytest.mark.parametrize("site", SITES)
def test_what_an_agent_compiles_first_knows_its_node(environment: str, site: str) -> None:
    """It is named by a hash of the node's settings. Without its devices there is none, and it is compiled again."""
    pods = cluster.items(environment, "pods", "-n", "kube-system", "-l", "k8s-app=cilium", site=site)
    logs = {
        pod["spec"]["nodeName"]: cluster.kubectl(
            *(environment, "logs", "-n", "kube-system", "-c", "cilium-agent", pod["metadata"]["name"]), site=site
        )
        for pod in pods
    }
    first = {node: re.search(r"/templates/(\w+)/bpf_host\.o", log) for node, log in logs.items()}
    assert all(first.values()), [node for node, found in first.items() if not found]
    assert len({found[1] for found in first.values() if found}) == len(first) >= 2, first


@pytest.mark.parametrize("site", SITES)
def test_agents_give_many_pods_their_network_at_once(environment: str, site: str) -> None:
    """By default the rate sinks with what the first pods of a host took, to one in ten seconds, and stays there."""
    pods = cluster.items(environment, "pods", "-n", "kube-system", "-l", "k8s-app=cilium", site=site)
    asked = ("cilium-dbg", "metrics", "list", "-p", "cilium_api_limiter_rate_limit")
    for name in (pod["metadata"]["name"] for pod in pods):
        told = cluster.kubectl(
            *(environment, "exec", "-n", "kube-system", "-c", "cilium-agent", name, "--", *asked), site=site
        )
        rates = re.findall(r"api_call=endpoint-create value=limit\s+([\d.]+)", told)
        assert [float(rate) for rate in rates] == [10.0], f"{name}: {told}"


@pytest.mark.parametrize(
    ("namespace", "workload"), [("workloads", "deployment/inference"), ("storage", "daemonset/lab-csi-node")]
)
def test_a_pod_of_ours_compiles_nothing_when_it_starts(environment: str, namespace: str, workload: str) -> None:
    """Its root is read-only: what has no bytecode in the image is compiled at each start, Python's library too."""
    imports = "import asyncio, http.client, json, logging.config, os, ssl, sys, urllib.request\n"
    caches = "[m.__cached__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)]"
    asked = f"{imports}found = {caches}\nprint(len(found), [one for one in found if not os.path.exists(one)])"
    said = cluster.kubectl(environment, "exec", "-n", namespace, workload, "--", "python3.11", "-c", asked)
    modules, missing = said.split(maxsplit=1)
    assert int(modules) > 50 and missing.strip() == "[]", said


def test_inference_replicas_run_on_different_nodes_with_a_disruption_budget(environment: str) -> None:
    pods = cluster.items(environment, "pods", "-n", "workloads", "-l", "app.kubernetes.io/name=inference")
    nodes = [p["spec"]["nodeName"] for p in pods]
    assert len(nodes) >= 2
    # More replicas than hosts share them evenly.
    assert len(set(nodes)) == min(len(nodes), len(load(environment).onprem.workers()))
    assert cluster.items(environment, "poddisruptionbudgets", "-n", "workloads")


def test_object_store_replicas_run_one_a_node(environment: str) -> None:
    pods = cluster.items(environment, "pods", "-n", "object-store", "-l", "app.kubernetes.io/name=garage")
    assert len({p["spec"]["nodeName"] for p in pods}) == 3


@pytest.mark.parametrize("name", ["inference", "training"])
def test_our_images_layers_cost_a_host_little_to_unpack(environment: str, name: str) -> None:
    image = Index.load().artifact(name)
    mirror = addressing.mirror_url(load(environment).onprem.network)
    repository = image.image.rpartition(":")[0]
    told = httpx.get(
        f"{mirror}/v2/{repository}/manifests/{image.digest}",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
    )
    assert {layer["mediaType"] for layer in told.json()["layers"]} == {"application/vnd.oci.image.layer.v1.tar+zstd"}


@pytest.mark.parametrize("site", SITES)
def test_our_images_are_pinned_by_digest_and_run_without_root(environment: str, site: str) -> None:
    found = cluster.items(environment, "pods", "-n", "workloads", site=site)
    assert found
    for pod in found:
        for container in pod["spec"]["containers"]:
            assert "@sha256:" in container["image"], container["image"]
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("site", SITES)
def test_a_pod_that_no_policy_names_reaches_nothing_in_our_namespaces(environment: str, site: str) -> None:
    for namespace in ("workloads", "object-store") if site == "onprem" else ("workloads",):
        policies = cluster.items(environment, "networkpolicies", "-n", namespace, site=site)
        everything = [p for p in policies if p["spec"]["podSelector"] in ({}, None)]
        assert any({"Ingress", "Egress"} <= set(p["spec"]["policyTypes"]) for p in everything), namespace


def test_secrets_are_encrypted_at_rest_in_etcd(environment: str) -> None:
    pod = cluster.items(environment, "pods", "-n", "kube-system", "-l", "component=etcd")[0]["metadata"]["name"]
    pki = "/etc/kubernetes/pki/etcd"
    raw = cluster.kubectl(
        environment, "exec", "-n", "kube-system", pod, "--",
        "etcdctl", "--endpoints=https://127.0.0.1:2379", f"--cacert={pki}/ca.crt", f"--cert={pki}/server.crt",
        f"--key={pki}/server.key", "get", "/registry/secrets/workloads/object-store-credentials", "-w", "json",
    )  # fmt: skip
    import base64

    value = base64.b64decode(json.loads(raw)["kvs"][0]["value"])
    assert value.startswith(b"k8s:enc:"), value[:20]


def test_etcd_has_a_member_on_every_control_plane(environment: str) -> None:
    settings = load(environment)
    wanted = {h.name for h in settings.onprem.hosts if "control_plane" in h.roles}
    pods = cluster.items(environment, "pods", "-n", "kube-system", "-l", "component=etcd")
    assert {p["spec"]["nodeName"] for p in pods if cluster.ready(p)} == wanted


@pytest.mark.parametrize("site", SITES)
def test_a_worker_carries_the_labels_and_taints_that_its_site_says(environment: str, site: str) -> None:
    settings = load(environment)
    nodes = {n["metadata"]["name"]: n for n in cluster.items(environment, "nodes", site=site)}
    for host in sites.one(settings, site).having("worker"):
        labels, taints = nodes[host.name]["metadata"]["labels"], nodes[host.name]["spec"].get("taints", [])
        assert host.labels.items() <= labels.items()
        assert len(taints) == len(host.taints)
