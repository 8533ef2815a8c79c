"""The rules of preflight.yml: pure functions from what is known to complaints, so that one run names them all.

A complaint names the host, the variable or the fact, the rule, and the fix.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

GROUPS = ("control_plane", "worker", "load_balancer")

VARIABLES: dict[str, type | tuple[type, ...]] = {
    "site_name": str,
    "cluster_name": str,
    "kubernetes_version": str,
    "api_address": str,
    "api_port": int,
    "ingress_address": str,
    "ingress_port": int,
    "ingress_node_port": int,
    "ingress_check_path": str,
    "ingress_pods": str,
    "dns_address": str,
    "tcp_services": list,
    "linked": bool,
    "peer_cidr": str,
    "admin_cidrs": list,
    "node_cidr": str,
    "pod_cidr": str,
    "service_cidr": str,
    "mirror_url": str,
    "registries": list,
    "files": dict,
    "images": list,
    "network_images": list,
    "pod_images": list,
    "pause_image": str,
    "metrics_folder": str,
    "backup_store": dict,
    "isthmus_outputs": str,
    "isthmus_changed_hosts": list,
    "reset_allowed": bool,
}
"""The play variables, and their types."""

FILES = ("kubeadm", "kubelet", "kubectl", "etcdctl", "etcdutl", "containerd", "containerd-shim-runc-v2", "ctr")

PORTS = {
    "control_plane": {
        6443: "kube-apiserver",
        2379: "etcd",
        2380: "etcd",
        10257: "kube-controller",
        10259: "kube-scheduler",
    },
    "any": {10250: "kubelet"},
}
"""Port -> who may listen on it already (a process name, which the kernel cuts at 15 characters)."""

HEALTH_PORT, METRICS_PORT, DNS_PORT = 8404, 8405, 8406
CLOCK_TOLERANCE_S = 10
"""Less than what breaks TLS and token lifetimes; beyond the time that asking took."""


def variable_problems(play: Mapping[str, Any]) -> list[str]:
    """What is wrong with the play variables."""
    missing = [name for name in VARIABLES if name not in play]
    if missing:
        return [
            f"variable {name} is not set: the inventory contract needs it; the Playbook resource hands it over"
            for name in missing
        ]
    typed = [
        f"variable {name} is a {type(play[name]).__name__}: it must be a {getattr(kind, '__name__', kind)}"
        for name, kind in VARIABLES.items()
        if not isinstance(play[name], kind)
    ]
    if typed:
        return typed
    return list(_formats(play)) + list(_files(play["files"]))


def _formats(play: Mapping[str, Any]) -> Iterable[str]:
    if not re.fullmatch(r"v\d+\.\d+\.\d+", play["kubernetes_version"]):
        yield f"variable kubernetes_version is {play['kubernetes_version']!r}: write it like v1.37.2"
    if not re.fullmatch(r"https?://[^/]+", play["mirror_url"]):
        yield f"variable mirror_url is {play['mirror_url']!r}: write it like http://10.0.0.2:5000, without a path"
    ranges = {}
    for name in ("node_cidr", "pod_cidr", "service_cidr"):
        try:
            ranges[name] = ipaddress.ip_network(play[name])
        except ValueError as error:
            yield f"variable {name} is no network: {error}; write it like 10.0.0.0/24"
    for text in play["admin_cidrs"]:
        try:
            ipaddress.IPv4Network(text)
        except ValueError as error:
            yield f"variable admin_cidrs holds no IPv4 network: {error}; write each like 10.0.0.0/24"
    names = sorted(ranges)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            if ranges[one].overlaps(ranges[other]):
                yield f"variables {one} ({ranges[one]}) and {other} ({ranges[other]}) overlap: give each its own range"
    for name in ("api_address", "ingress_address"):
        if (problem := _outside(play[name], ranges.get("node_cidr"))) is not None:
            yield f"variable {name} {problem}"
    if play["api_address"] == play["ingress_address"] and play["api_port"] == play["ingress_port"]:
        yield "variables api_address:api_port and ingress_address:ingress_port are the same: give one another"
    if play["api_port"] == 6443:
        yield "variable api_port is 6443: each API server listens there itself; choose another, for example 8443"


def _outside(address: str, network: Any) -> str | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"is {address!r}: it must be an address"
    if network is not None and parsed not in network:
        return f"is {address}: it must lie inside node_cidr ({network}), or no neighbour finds it"
    return None


def _files(files: Mapping[str, Any]) -> Iterable[str]:
    for name in FILES:
        entry = files.get(name)
        if not isinstance(entry, dict) or not entry.get("url"):
            yield f"variable files has no url for {name}: fill the mirror (make mirror ARGS=sync) and run again"
        elif not re.fullmatch(r"[0-9a-f]{64}", str(entry.get("sha256", ""))):
            yield f"variable files.{name}.sha256 is no SHA-256 sum of 64 hexadecimal digits: make mirror ARGS=sync"


def inventory_problems(
    groups: Mapping[str, list[str]], hostvars: Mapping[str, Any], play: Mapping[str, Any]
) -> list[str]:
    """What is wrong with the groups and the hosts in them."""
    absent = [name for name in GROUPS if name not in groups]
    if absent:
        return [
            f"group {name} does not exist: every group exists, empty if need be (inventory/groups.yml)"
            for name in absent
        ]
    found = []
    for name in ("control_plane", "load_balancer"):
        if not groups[name]:
            found.append(f"group {name} is empty: the cluster needs at least one host in it")
    if groups["control_plane"] and len(groups["control_plane"]) % 2 == 0:
        members = ", ".join(groups["control_plane"])
        found.append(
            f"group control_plane has {len(groups['control_plane'])} hosts ({members}): each is an etcd member,"
            " and an even number survives no more losses than one less; make it odd"
        )
    return found + list(_addresses(groups, hostvars, play))


def _addresses(groups: Mapping[str, list[str]], hostvars: Mapping[str, Any], play: Mapping[str, Any]) -> Iterable[str]:
    network = ipaddress.ip_network(play["node_cidr"])
    holders = {play["api_address"]: "api_address", play["ingress_address"]: "ingress_address"}
    for host in sorted({host for name in GROUPS for host in groups[name]}):
        address = hostvars[host].get("ansible_host", "")
        if (problem := _outside(address, network)) is not None:
            yield f"host {host}: variable ansible_host {problem}"
        elif address in holders:
            yield f"host {host}: variable ansible_host ({address}) is also {holders[address]}: each needs its own"
        else:
            holders[address] = f"host {host}"
        for name, kind in (("node_labels", dict), ("node_taints", list)):
            if not isinstance(hostvars[host].get(name), kind):
                yield f"host {host}: variable {name} must be a {kind.__name__}; write it empty where there is none"
        for taint in hostvars[host].get("node_taints") or []:
            if not re.fullmatch(r"[^\s:=]+(=[^\s:]*)?:(NoSchedule|PreferNoSchedule|NoExecute)", str(taint)):
                yield f"host {host}: variable node_taints holds {taint!r}: write it like gpu=true:NoSchedule"


def host_problems(
    probe: Mapping[str, Any],
    host: str,
    address: str,
    member_of: list[str],
    play: Mapping[str, Any],
    asked: list[float],
    limits: Mapping[str, Any],
) -> list[str]:
    """What is wrong with one host, from what files/probe.py found on it.

    `asked`: this machine's time before and after the probe, in seconds since the epoch.
    """
    rules: tuple[tuple[bool, str], ...] = (
        (probe["root"], "the login is not root and become did not help: give ansible_user sudo without a password"),
        (probe["systemd"], "it was not booted by systemd: install Debian with systemd"),
        (
            probe["os"] == "debian",
            f"its system is {probe['os'] or 'unknown'}: the roles support Debian 12 or newer; install that",
        ),
        (
            probe["os"] != "debian" or float(probe["os_version"] or 99) >= limits["debian"],
            f"its Debian is {probe['os_version']}: {limits['debian']} or newer is needed; upgrade it",
        ),
        (
            probe["interface"] != "",
            f"variable ansible_host is {address}, which no interface of it holds ({', '.join(probe['addresses'])}): "
            "etcd and the kubelet listen there; use the host's own address",
        ),
        (
            probe["memory_mib"] >= limits["memory_mib"],
            f"it has {probe['memory_mib']} MiB of memory: at least {limits['memory_mib']} MiB are needed; add memory",
        ),
        (
            probe["swap_mib"] == 0 or probe["container"],
            f"swap is on ({probe['swap_mib']} MiB): the kubelet's limits would not hold: swapoff -a + edit /etc/fstab",
        ),
        (
            probe["mirror"] == "",
            f"variable mirror_url is {play['mirror_url']}, which does not answer from there ({probe['mirror']}): "
            "run a registry there (README.md, A real environment), or open its port to the hosts",
        ),
        (
            probe["api_server"] in ("", play["kubernetes_version"]),
            f"variable kubernetes_version is {play['kubernetes_version']}, and its API server's {probe['api_server']}: "
            "no kubelet may be newer than an API server, and nothing here upgrades those; do that first, with kubeadm",
        ),
        (
            _admitted(probe["came_from"], play["admin_cidrs"]),
            f"variable admin_cidrs is {', '.join(play['admin_cidrs'])}, and Ansible comes from {probe['came_from']}: "
            "the host's firewall would lock it out; add a range that holds that address",
        ),
        (
            asked[0] - CLOCK_TOLERANCE_S <= probe["time"] <= asked[1] + CLOCK_TOLERANCE_S,
            f"its clock is {abs(probe['time'] - asked[1]):.0f} s away from this machine's: "
            "certificates would be refused; set up time synchronisation",
        ),
    )
    found = [text for holds, text in rules if not holds]
    found += [
        f"{path} has {free} GiB free: at least {limits['free_gib']} GiB are needed; make room, or give it a larger disk"
        for path, free in probe["free_gib"].items()
        if free < limits["free_gib"]
    ]
    return [f"host {host}: {text}" for text in found + list(_ports(probe, member_of, play))]


def _admitted(address: str, ranges: Iterable[str]) -> bool:
    """No address: Ansible did not come over the network. The firewall knows IPv4 alone."""
    if not address:
        return True
    # a socket for both protocols tells an IPv4 address as ::ffff:10.0.0.9
    parsed = ipaddress.ip_address(address.removeprefix("::ffff:"))
    return any(parsed in ipaddress.ip_network(one) for one in ranges)


def _ports(probe: Mapping[str, Any], member_of: list[str], play: Mapping[str, Any]) -> Iterable[str]:
    wanted = dict(PORTS["any"])
    if "control_plane" in member_of:
        wanted |= PORTS["control_plane"]
    if "load_balancer" in member_of:
        published = [service["port"] for service in play["tcp_services"]]
        own = (play["api_port"], play["ingress_port"], HEALTH_PORT, METRICS_PORT, DNS_PORT)
        wanted |= {port: "haproxy" for port in (*own, *published)}
    for port, owner in sorted(wanted.items()):
        holder = probe["listeners"].get(str(port), owner)
        if holder != owner:
            yield f"port {port}, which {owner} needs, is held by {holder}: stop that, or choose another port"


def floating_problems(probes: Mapping[str, Mapping[str, Any]], play: Mapping[str, Any]) -> list[str]:
    """A floating address that answers although none of our hosts holds it belongs to somebody else.

    Where our load balancers run already the address is theirs, even if it was just moving while the hosts were asked.
    """
    held = {address for probe in probes.values() for address in probe["addresses"]}
    answering = {address for probe in probes.values() for address in probe["floating"]}
    running = {port for probe in probes.values() for port, name in probe["listeners"].items() if name == "haproxy"}
    return [
        f"variable {service}_address is {play[f'{service}_address']}, and a host that is none of ours answers there: "
        "choose a free address"
        for service in ("api", "ingress")
        if play[f"{service}_address"] in answering - held and str(play[f"{service}_port"]) not in running
    ]


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        """The filters, by the name that plays use."""
        return {
            "variable_problems": variable_problems,
            "inventory_problems": inventory_problems,
            "host_problems": host_problems,
            "floating_problems": floating_problems,
        }
