"""ClusterMesh as it is registered: what each site tells, who may ask, and what passes between the sites' pods."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import yaml

from infra import environment, meshes, naming
from infra.paths import ROOT
from infra.platform import cilium, cilium_values, cluster, mesh, mesh_values, policies
from infra.platform.chart import Manifest
from infra.resources import Authority
from tests.infra import program, recording
from tests.infra.recording import Resource

SITES = {"onprem": "cloud", "cloud": "onprem"}
"""Site -> the other one; in environments/hybrid.yaml clusters have their sites' names."""


def inside(name: str, site: str) -> list[Resource]:
    """What is in a site's cluster."""
    return [
        one for one in program.of(name).resources if one.type.startswith("kubernetes:") and one.options.provider == site
    ]


def the(name: str, site: str, kind: str, wanted: str) -> dict[str, Any]:
    return recording.the(inside(name, site), kind, wanted).inputs


def plain(value: Any) -> Any:
    """What the engine keeps secret."""
    return value["value"] if recording.is_secret(value) else value


def certificates(name: str) -> list[dict[str, Any]]:
    return [
        one.inputs
        for one in program.of(name).resources
        if one.kind == "Certificate" and one.options.parent == "mesh-certificates"
    ]


# ---- where there is one


def test_a_site_that_stands_alone_has_none() -> None:
    assert meshes.onprem(recording.local()) is None
    resources = program.of("local").resources
    assert not [one.name for one in resources if "mesh" in one.name or one.kind == "Authority"]
    variables = recording.the(resources, "Playbook", "onprem").inputs["variables"]
    assert variables["peer_cidr"] == "" and "mesh" not in [one["name"] for one in variables["tcp_services"]]
    assert "annotations" not in the("local", "onprem", "Service", "inference")["metadata"]
    assert the("local", "onprem", "Service", "inference")["spec"]["externalTrafficPolicy"] == "Local"
    assert not [one for one in inside("local", "onprem") if policies.CLUSTER_LABEL in str(one.inputs)]


def test_its_cilium_is_as_it_would_be_if_there_were_no_mesh_at_all() -> None:
    facts = cluster.of_hosts(recording.local().onprem)
    values = cilium_values.values(facts, "10.90.0.100", agent_image="a", operator_image="o")
    assert values["clustermesh"] == {"policyDefaultLocalCluster": False}
    assert not {"MTU", "extraConfig"} & values.keys()


def test_wherever_an_environment_has_both_sites_each_knows_the_others_ranges() -> None:
    prod = environment.load(program.file("prod"))
    assert prod.cloud
    there, here = meshes.onprem(prod), meshes.cloud(prod.onprem, prod.cloud)
    assert there and (there.peer, str(there.peer_nodes), str(there.peer_pods)) == (
        "prod-cloud",
        "10.32.0.0/16",
        "10.72.0.0/14",
    )
    assert (here.peer, str(here.peer_nodes), str(here.peer_pods)) == ("prod-onprem", "10.20.0.0/24", "10.64.0.0/14")


# ---- certificates


def test_one_authority_signs_all_and_its_key_is_secret() -> None:
    for name in ("hybrid", "prod"):
        found = program.of(name).resources
        authorities = [one for one in found if one.kind == "Authority" and one.options.parent != "view-keys"]
        assert [(one.name, one.inputs["name"]) for one in authorities] == [("mesh", meshes.AUTHORITY)]
        made = certificates(name)
        assert len(made) == 6
        for one in made:
            authority = plain(one["authority"])
            assert authority["certificate"] == "certificate of mesh"
            assert recording.is_secret(one["authority"]) or recording.is_secret(authority["private_key"])


def test_subjects_are_the_users_that_etcd_knows() -> None:
    subjects = sorted(one["names"][0] for one in certificates("hybrid"))
    server = "clustermesh-apiserver.kube-system.svc"
    assert subjects == sorted(["admin-onprem", "admin-cloud", "remote", "remote", server, server])


def test_a_server_is_known_by_what_the_other_site_calls_it() -> None:
    servers = [one for one in certificates("hybrid") if "addresses" in one]
    assert sorted(one["addresses"] for one in servers) == [["127.0.0.1", "10.80.0.5"], ["127.0.0.1", "10.90.0.101"]]
    amazons, ours = sorted(
        (one for one in certificates("prod") if "addresses" in one), key=lambda one: len(one["addresses"])
    )
    assert amazons["names"][1:] == ["*.elb.eu-central-1.amazonaws.com"] and amazons["addresses"] == ["127.0.0.1"]
    assert ours["names"][1:] == [] and ours["addresses"] == ["127.0.0.1", "10.20.0.101"]


@pytest.mark.parametrize("site", SITES)
def test_secrets_have_the_names_and_keys_that_the_chart_mounts(site: str) -> None:
    for who in ("server", "admin", "remote"):
        secret = the("hybrid", site, "Secret", f"clustermesh-apiserver-{who}-cert")
        data = plain(secret["stringData"])
        assert data.keys() == {"ca.crt", "tls.crt", "tls.key"}
        assert plain(data["ca.crt"]) == "certificate of mesh"
        assert plain(data["tls.crt"]) == f"certificate of clustermesh-apiserver-{who}"
        assert recording.is_secret(secret["stringData"]) or recording.is_secret(data["tls.key"])


# ---- who is asked, and by whom


@pytest.mark.parametrize("site", SITES)
def test_on_hosts_the_load_balancers_hand_on_to_the_entrance(site: str) -> None:
    spec = the("hybrid", site, "Service", mesh.APP)["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("NodePort", "Cluster"), (
        "fewer pods than hosts, asked at any host"
    )
    (port,) = spec["ports"]
    assert (port["port"], port["nodePort"]) == (2379, 32379)
    variables = recording.the(program.of("hybrid").resources, "Playbook", site).inputs["variables"]
    (served,) = [one for one in variables["tcp_services"] if one["name"] == "mesh"]
    assert (served["port"], served["node_port"]) == (12379, 32379)


def test_at_amazon_a_load_balancer_inside_the_vpc_does_for_it_and_the_site() -> None:
    service = the("prod", "cloud", "Service", mesh.APP)
    assert service["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-internal"] == "true"
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["loadBalancerSourceRanges"] == ["10.32.0.0/16", "10.20.0.0/24"]


@pytest.mark.parametrize("site", SITES)
def test_load_balancers_alone_reach_its_etcd_and_it_reaches_the_api_alone(site: str) -> None:
    spec = the("hybrid", site, "NetworkPolicy", f"kube-system-{mesh.APP}")["spec"]
    nodes, pods = {"onprem": ("10.90.0.0/24", "10.244.0.0/16"), "cloud": ("10.80.0.0/20", "10.245.0.0/16")}[site]
    (asked,) = spec["ingress"]
    assert [peer["ipBlock"]["cidr"] for peer in asked["from"]] == [nodes, pods]
    assert [port["port"] for port in asked["ports"]] == [2379]
    (asks,) = spec["egress"]
    assert [peer["ipBlock"]["cidr"] for peer in asks["to"]] == [nodes]
    assert [port["port"] for port in asks["ports"]] == [6443]


@pytest.mark.parametrize(
    ("site", "peer", "endpoint"),
    [("onprem", "cloud", "https://10.80.0.5:12379"), ("cloud", "onprem", "https://10.90.0.101:12379")],
)
def test_agents_are_told_where_to_ask_the_other_site(site: str, peer: str, endpoint: str) -> None:
    data = plain(the("hybrid", site, "Secret", mesh.PEERS)["stringData"])
    assert data.keys() == {peer}, "a file for each cluster, by its name"
    told = yaml.safe_load(plain(data[peer]))
    place = "/var/lib/cilium/clustermesh/common-etcd-client"
    assert told == {
        "endpoints": [endpoint],
        "trusted-ca-file": f"{place}-ca.crt",
        "key-file": f"{place}.key",
        "cert-file": f"{place}.crt",
    }


def test_the_name_of_amazons_load_balancer_is_told_when_it_is_known() -> None:
    """Without a status, as in mocks, there is none yet; that the on-prem site waits for it with this alone is below."""
    data = plain(the("prod", "onprem", "Secret", mesh.PEERS)["stringData"])
    assert data.keys() == {"prod-cloud"}
    secret = recording.the(inside("prod", "onprem"), "Secret", mesh.PEERS)
    assert mesh.APP in secret.options.depends_on


def test_neither_site_waits_for_the_other() -> None:
    for name in ("hybrid", "prod"):
        resources = program.of(name).resources
        waiting = [one.name for one in resources if mesh.PEERS in one.options.depends_on]
        assert waiting == [], "an agent takes the file whenever it comes"
    for site in SITES:
        assert recording.the(inside("hybrid", site), "Secret", mesh.PEERS).options.depends_on <= {"mesh"}


def test_another_authority_is_read_from_the_file_that_makes_agents_connect_again() -> None:
    def told(certificate: str) -> str:
        def run() -> None:
            authority = Authority("mesh", name="mesh")
            authority.certificate = recording.pulumi.Output.from_input(certificate)
            facts = cluster.of_hosts(recording.hybrid().onprem, mesh=meshes.onprem(recording.hybrid()))
            mesh.introduce(
                facts, host="10.80.0.5", port=1, authority=authority, opts=recording.pulumi.ResourceOptions()
            )

        secret = recording.the(recording.record(run), "Secret", mesh.PEERS)
        return str(plain(plain(secret.inputs["stringData"])["cloud"]))

    assert told("one") == told("one") != told("another")


# ---- the agents


def facts(site: str) -> cluster.Cluster:
    env = recording.hybrid()
    assert env.cloud
    if site == "onprem":
        return cluster.of_hosts(env.onprem, linked=True, mesh=meshes.onprem(env))
    prod = environment.load(program.file("prod"))
    assert prod.cloud
    return cluster.of_eks(prod.cloud, prod.onprem.network.cidr, "api", mesh=meshes.cloud(prod.onprem, prod.cloud))


@pytest.mark.parametrize("site", SITES)
def test_pods_packets_fit_the_link(site: str) -> None:
    values = cilium_values.values(facts(site), "api", agent_image="a", operator_image="o")
    role = yaml.safe_load((ROOT / "ansible/roles/site_link/defaults/main.yml").read_text())
    assert values["MTU"] == role["site_link_mtu"], "Cilium takes its own 50 bytes off"


@pytest.mark.parametrize("site", SITES)
def test_an_agent_that_starts_while_the_link_is_cut_goes_on_soon(site: str) -> None:
    values = cilium_values.values(facts(site), "api", agent_image="a", operator_image="o")
    assert values["extraConfig"]["clustermesh-sync-timeout"] == "10s"
    assert values["extraConfig"].keys() == {"clustermesh-sync-timeout", "kvstore-opt"}, "and nothing else is its own"


@pytest.mark.parametrize("site", SITES)
def test_an_agent_that_is_told_nothing_any_more_asks_another_within_the_half_of_a_minute(site: str) -> None:
    values = cilium_values.values(facts(site), "api", agent_image="a", operator_image="o")
    probes = json.loads(values["extraConfig"]["kvstore-opt"])
    seconds = [int(probes[f"etcd.keepalive{what}"].removesuffix("s")) for what in ("Heartbeat", "Timeout")]
    assert sum(seconds) < 30
    # etcd closes the connection of who probes it more often (--grpc-keepalive-min-time)
    assert seconds[0] >= 5


def test_who_tells_the_other_site_may_be_lost_where_there_are_two_hosts() -> None:
    onprem, alone = facts("onprem"), dataclasses.replace(facts("onprem"), workers=("one",))
    apiserver = mesh_values.values("image", "mark", onprem)["apiserver"]
    assert apiserver["replicas"] == 2 and apiserver["podDisruptionBudget"] == {"enabled": True}
    (spread,) = apiserver["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "DoNotSchedule")
    assert spread["labelSelector"] == {"matchLabels": {"app.kubernetes.io/name": mesh.APP}}
    apiserver = mesh_values.values("image", "mark", alone)["apiserver"]
    assert apiserver["replicas"] == 1 and apiserver["podDisruptionBudget"] == {"enabled": False}


def test_the_chart_is_left_no_certificate_and_no_service_to_make() -> None:
    apiserver = mesh_values.values("image", "mark", facts("onprem"))["apiserver"]
    assert apiserver["tls"]["auto"] == {"enabled": False} and apiserver["tls"]["enableSecrets"] is False
    assert apiserver["service"] == {"externallyCreated": True}


CHART: list[Manifest] = [
    {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "kube-system"}, "spec": {"a": mark}}
    for kind, name, mark in (("DaemonSet", "cilium", ""), ("Deployment", mesh.APP, cilium.CERTIFICATE))
]


def test_pods_do_not_wait_for_the_entrance_which_starts_anew_with_its_certificate() -> None:
    awaited: list[str] = []

    def run() -> None:
        made = mesh.Certificates("certificates", cluster=facts("onprem"), authority=Authority("mesh", name="mesh"))
        network = cilium.Cilium(
            "cilium", cluster=facts("onprem"), index=recording.index(), kubernetes_version="v1", certificates=made
        )
        awaited.extend(one.pulumi_resource_name for one in network.running)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cilium, "objects", lambda *_: CHART)
        resources = recording.record(run)
    assert awaited == ["daemonset-kube-system-cilium"]
    deployment = recording.the(resources, "Deployment", cilium.MESHED)
    mark = deployment.inputs["spec"]["a"]
    assert len(mark) == 10 and not recording.is_secret(mark), "a plain mark of the certificate"
    assert {f"{mesh.APP}-{who}-cert" for who in ("server", "admin", "remote")} <= deployment.options.depends_on


# ---- what passes between the sites


@pytest.mark.parametrize("name", ["hybrid", "prod"])
@pytest.mark.parametrize("site", SITES)
def test_inference_is_shared_and_answered_at_home_while_it_can_be(name: str, site: str) -> None:
    service = the(name, site, "Service", "inference")
    annotations = {key: value for key, value in service["metadata"]["annotations"].items() if "cilium" in key}
    assert annotations == {"service.cilium.io/global": "true", "service.cilium.io/affinity": "local"}
    assert service["spec"]["externalTrafficPolicy"] == "Cluster", "with Local a host answers for its own pods alone"
    shared = [one.name for one in inside(name, site) if "service.cilium.io/global" in str(one.inputs)]
    assert shared == ["inference"], "nothing else is"


@pytest.mark.parametrize(
    ("site", "peers"), [("onprem", ["10.80.0.0/20", "10.245.0.0/16"]), ("cloud", ["10.90.0.0/24", "10.244.0.0/16"])]
)
def test_of_the_other_site_its_hosts_reach_inference_and_names_and_nothing_else(site: str, peers: list[str]) -> None:
    (rule,) = the("hybrid", site, "NetworkPolicy", "workloads-inference")["spec"]["ingress"]
    assert [peer["ipBlock"]["cidr"] for peer in rule["from"] if "ipBlock" in peer][-2:] == peers
    assert [port["port"] for port in rule["ports"]] == [naming.INGRESS_POD_PORT]
    everybody = [{"ipBlock": {"cidr": peers[0]}}]
    letting = {
        one.name
        for one in inside("hybrid", site)
        if one.kind == "NetworkPolicy"
        for rule in one.inputs["spec"].get("ingress", [])
        for peer in rule.get("from", everybody)
        if peer.get("ipBlock", {}).get("cidr") in peers
    }
    assert letting == {"workloads-inference", "kube-system-coredns"}


@pytest.mark.parametrize("name", ["hybrid", "prod"])
@pytest.mark.parametrize("site", SITES)
def test_a_policy_that_names_pods_means_those_of_its_own_cluster(name: str, site: str) -> None:
    env = environment.load(program.file(name))
    assert env.cloud
    own = (env.onprem if site == "onprem" else env.cloud).cluster.name
    seen = 0
    for one in inside(name, site):
        spec = one.inputs["spec"] if one.kind == "NetworkPolicy" else {}
        for rule in (*spec.get("ingress", []), *spec.get("egress", [])):
            for peer in (*rule.get("from", []), *rule.get("to", [])):
                if "ipBlock" in peer:
                    assert peer.keys() == {"ipBlock"}
                else:
                    assert peer["podSelector"]["matchLabels"][policies.CLUSTER_LABEL] == own, one.name
                    seen += 1
    assert seen > 5


def test_what_a_policy_says_besides_stays_as_it_is() -> None:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {key: without(entry) for key, entry in value.items() if key != policies.CLUSTER_LABEL}
            return {
                key: entry for key, entry in kept.items() if not (key == "podSelector" and entry == {"matchLabels": {}})
            }
        return [without(entry) for entry in value] if isinstance(value, list) else value

    # Where the other site is asked or lets ask: inference, the status page, and whoever uses the view over both.
    others = ["workloads-inference", "status-status", "monitoring-alertmanager", "monitoring-prometheus"]
    # The hybrid lab has a fixed number of replicas: nobody there counts requests.
    others.append("monitoring-prometheus-queried")
    for one in inside("local", "onprem"):
        if one.kind == "NetworkPolicy" and one.name not in others:
            same = [other for other in inside("hybrid", "onprem") if (other.kind, other.name) == (one.kind, one.name)]
            assert [without(other.inputs["spec"]) for other in same] == [one.inputs["spec"]], one.name


def test_the_facts_of_a_cluster_say_nothing_of_a_mesh_unless_there_is_one() -> None:
    alone = dataclasses.replace(facts("onprem"), mesh=None)
    assert mesh.others(alone) == [] and mesh.shared(alone) == {}
