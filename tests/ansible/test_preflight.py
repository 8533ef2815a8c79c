"""The rules of preflight: a right site passes, and each wrong thing is named with its host or variable, and the fix."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from infra.naming import LOAD_BALANCER_METRICS_PORT
from tests.ansible.conftest import COLLECTION, HOSTS, role_yaml

_spec = importlib.util.spec_from_file_location("preflight_filter", COLLECTION / "filter" / "preflight.py")
assert _spec is not None
assert _spec.loader is not None
preflight = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(preflight)

PLAY: dict[str, Any] = {
    "site_name": "onprem",
    "cluster_name": "onprem",
    "kubernetes_version": "v1.37.2",
    "api_address": "10.0.0.100",
    "api_port": 8443,
    "ingress_address": "10.0.0.101",
    "ingress_port": 80,
    "ingress_node_port": 30080,
    "ingress_check_path": "/ready",
    "ingress_pods": "pods.workloads.svc.cluster.local:8080",
    "dns_address": "10.96.0.10",
    "tcp_services": [],
    "linked": False,
    "peer_cidr": "",
    "admin_cidrs": ["10.0.0.0/8"],
    "node_cidr": "10.0.0.0/24",
    "pod_cidr": "10.244.0.0/16",
    "service_cidr": "10.96.0.0/16",
    "mirror_url": "http://10.0.0.2:5000",
    "registries": ["quay.io"],
    "files": {name: {"url": "http://10.0.0.2/x", "sha256": "0" * 64} for name in preflight.FILES},
    "images": [],
    "network_images": [],
    "pod_images": [],
    "worker_images": [],
    "pause_image": "registry.k8s.io/pause:3",
    "metrics_folder": "/var/lib/isthmus/metrics",
    "backup_store": {},
    "isthmus_outputs": "/tmp/x",
    "isthmus_changed_hosts": list(HOSTS),
    "reset_allowed": False,
}
GROUPS = {"control_plane": list(HOSTS), "worker": list(HOSTS), "load_balancer": list(HOSTS)}
HOSTVARS = {name: {"ansible_host": address, "node_labels": {}, "node_taints": []} for name, address in HOSTS.items()}
PROBE: dict[str, Any] = {
    "root": True,
    "systemd": True,
    "os": "debian",
    "os_version": "12",
    "interface": "eth0",
    "addresses": ["10.0.0.11", "127.0.0.1"],
    "came_from": "10.0.0.9",
    "memory_mib": 8000,
    "swap_mib": 0,
    "api_server": "v1.37.2",
    "container": False,
    "mirror": "",
    "time": 1000.0,
    "free_gib": {"/var/lib/etcd": 50.0},
    "listeners": {"22": "sshd"},
    "floating": [],
}
LIMITS = {"debian": 12, "memory_mib": 1700, "free_gib": 4}


def _host_problems(**changes: Any) -> list[str]:
    probe = PROBE | changes
    problems: list[str] = preflight.host_problems(
        probe, "one", "10.0.0.11", ["control_plane", "load_balancer"], PLAY, [1000.0, 1001.0], LIMITS
    )
    return problems


def test_a_right_site_passes() -> None:
    assert preflight.variable_problems(PLAY) == []
    assert preflight.inventory_problems(GROUPS, HOSTVARS, PLAY) == []
    assert _host_problems() == []


@pytest.mark.parametrize("name", sorted(preflight.VARIABLES))
def test_a_missing_variable_is_named(name: str) -> None:
    (problem,) = preflight.variable_problems({key: value for key, value in PLAY.items() if key != name})
    assert f"variable {name} is not set" in problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kubernetes_version": "1.37"}, ["kubernetes_version", "v1.37.2"]),
        ({"api_port": "8443"}, ["api_port", "str", "int"]),
        ({"api_port": 6443}, ["api_port", "6443"]),
        ({"api_address": "10.9.0.1"}, ["api_address", "node_cidr"]),
        ({"ingress_address": "ten"}, ["ingress_address", "must be an address"]),
        ({"pod_cidr": "10.96.0.0/12"}, ["pod_cidr", "service_cidr", "overlap"]),
        ({"node_cidr": "10.0.0.1/24"}, ["node_cidr", "no network"]),
        ({"admin_cidrs": ["10.0.0.1/24"]}, ["admin_cidrs", "no IPv4 network"]),
        ({"mirror_url": "10.0.0.2:5000"}, ["mirror_url", "http://"]),
        ({"files": PLAY["files"] | {"kubelet": {}}}, ["files", "kubelet", "make mirror ARGS=sync"]),
        ({"files": PLAY["files"] | {"kubeadm": {"url": "x", "sha256": "no"}}}, ["files.kubeadm.sha256", "64"]),
        ({"ingress_address": "10.0.0.100", "ingress_port": 8443}, ["api_address", "ingress_address", "same"]),
    ],
)
def test_a_wrong_variable_is_named_with_its_rule(changes: dict[str, Any], words: list[str]) -> None:
    problems = preflight.variable_problems(PLAY | changes)
    assert any(all(word in problem for word in words) for problem in problems), problems


def test_a_missing_group_an_even_number_and_a_shared_address_are_named() -> None:
    assert "group worker" in preflight.inventory_problems({"control_plane": [], "load_balancer": []}, {}, PLAY)[0]
    even = preflight.inventory_problems(GROUPS | {"control_plane": ["one", "two"]}, HOSTVARS, PLAY)
    assert "2 hosts (one, two)" in even[0]
    assert "make it odd" in even[0]
    shared = HOSTVARS | {"two": HOSTVARS["two"] | {"ansible_host": "10.0.0.100"}}
    assert "host two" in preflight.inventory_problems(GROUPS, shared, PLAY)[0]
    empty = preflight.inventory_problems(GROUPS | {"load_balancer": []}, HOSTVARS, PLAY)
    assert "group load_balancer is empty" in empty[0]


def test_a_taint_that_is_none_is_named_with_its_host() -> None:
    wrong = HOSTVARS | {"one": HOSTVARS["one"] | {"node_taints": ["gpu"]}}
    (problem,) = preflight.inventory_problems(GROUPS, wrong, PLAY)
    assert "host one" in problem
    assert "gpu=true:NoSchedule" in problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"root": False}, ["root", "sudo"]),
        ({"systemd": False}, ["systemd"]),
        ({"os": "ubuntu"}, ["ubuntu", "Debian"]),
        ({"os_version": "11"}, ["11", "upgrade"]),
        ({"interface": ""}, ["ansible_host", "10.0.0.11", "no interface"]),
        ({"memory_mib": 900}, ["900 MiB", "1700 MiB"]),
        ({"swap_mib": 512}, ["swap", "swapoff"]),
        ({"mirror": "Connection refused"}, ["mirror_url", "Connection refused"]),
        ({"api_server": "v1.36.4"}, ["kubernetes_version", "v1.37.2", "v1.36.4", "kubeadm"]),
        ({"time": 900.0}, ["clock", "time synchronisation"]),
        ({"free_gib": {"/var/lib/etcd": 1.5}}, ["/var/lib/etcd", "1.5 GiB"]),
        ({"came_from": "172.16.0.9"}, ["admin_cidrs", "10.0.0.0/8", "172.16.0.9", "lock it out"]),
        ({"listeners": {"6443": "nginx"}}, ["port 6443", "nginx"]),
        ({"listeners": {"8443": "nginx"}}, ["port 8443", "haproxy", "nginx"]),
    ],
)
def test_a_wrong_host_is_named_with_its_rule(changes: dict[str, Any], words: list[str]) -> None:
    (problem,) = _host_problems(**changes)
    assert problem.startswith("host one: ")
    assert all(word in problem for word in words), problem


def test_swap_that_a_container_sees_is_its_hosts_and_ports_that_are_ours_are_fine() -> None:
    assert _host_problems(swap_mib=512, container=True, listeners={"6443": "kube-apiserver", "80": "haproxy"}) == []


def test_a_host_without_an_api_server_has_none_of_another_version() -> None:
    assert _host_problems(api_server="") == []


@pytest.mark.parametrize("origin", ["", "10.0.0.9", "::ffff:10.0.0.9"])
def test_who_runs_ansible_from_the_host_itself_or_from_an_admitted_range_is_not_locked_out(origin: str) -> None:
    assert _host_problems(came_from=origin) == []


def test_a_floating_address_that_a_stranger_holds_is_refused_and_one_of_ours_is_not() -> None:
    stranger = {"one": PROBE | {"floating": ["10.0.0.100"]}}
    (problem,) = preflight.floating_problems(stranger, PLAY)
    assert "api_address" in problem
    ours = {"one": PROBE | {"floating": ["10.0.0.100"], "addresses": ["10.0.0.11", "10.0.0.100"]}}
    assert preflight.floating_problems(ours, PLAY) == []
    moving = {"one": PROBE | {"floating": ["10.0.0.100"], "listeners": {"8443": "haproxy"}}}
    assert preflight.floating_problems(moving, PLAY) == []


def test_the_ports_that_are_kept_free_for_load_balancers_are_those_that_they_take() -> None:
    defaults = role_yaml("load_balancer", "defaults/main.yml")
    assert defaults["load_balancer_health_port"] == preflight.HEALTH_PORT
    assert defaults["load_balancer_dns_port"] == preflight.DNS_PORT
    assert preflight.METRICS_PORT == defaults["load_balancer_metrics_port"] == LOAD_BALANCER_METRICS_PORT
