"""Rules between the keys of an environment: each check yields "key: what is wrong; how to fix it".

Pure functions of a parsed Environment, so each rule is read, and tested, on its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING

import yaml

from infra import accelerator_checks, alert_checks, autoscaling_checks, naming, nodes, quantities
from infra.paths import ROOT

if TYPE_CHECKING:
    from infra.environment import CloudNetwork, Environment, Resources, SiteNetwork

CATALOG = ROOT / "mirror" / "catalog.yaml"

HOST_PORTS = {
    6443: "the API server",
    2379: "etcd",
    2380: "etcd",
    10250: "the kubelet",
    9100: "the node exporter",
    8404: "the load balancer's health",
    8406: "the load balancer's way to the cluster's DNS",
    naming.LOAD_BALANCER_METRICS_PORT: "the load balancer's metrics",
    naming.ETCD_METRICS_PORT: "etcd's metrics",
    naming.CONTAINERD_METRICS_PORT: "containerd's metrics",
    naming.CILIUM_METRICS_PORT: "Cilium's metrics",
    naming.HUBBLE_METRICS_PORT: "the metrics of flows",
    naming.GPU_METRICS_PORT: "the GPUs' metrics",
}
"""Ports that a host uses itself, so that no load balancer on it can have them."""

FOR_THE_OTHER_SITE = {
    naming.OBJECT_STORE.port: "the object store",
    naming.VIEW.port: "the view over both sites",
    naming.MESH.port: "the mesh of the two sites",
}
"""Ports of the ingress address that the other site uses, where there is one."""

NODE_PORTS = range(30000, 32768)

NODE_PREFIX = 24
"""Kubernetes gives each node a range of this size out of the pods' range."""


@functools.cache
def catalog_version() -> str:
    """The Kubernetes version that the mirror's catalog pins: all that a site can install."""
    catalog = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
    return str(catalog["artifacts"]["kubeadm"]["version"])


def _version(environment: Environment) -> Iterator[str]:
    pinned = catalog_version()
    if environment.kubernetes.version != pinned:
        yield (
            f"kubernetes.version: {environment.kubernetes.version} is not in the mirror; "
            f"write {pinned} or pin the other version in mirror/catalog.yaml first"
        )


def _ranges(environment: Environment) -> Iterator[str]:
    onprem = environment.onprem
    network = onprem.network
    for (one, first), (other, second) in combinations(_all_ranges(environment), 2):
        if first.overlaps(second):
            yield f"{other}: {second} overlaps {one} {first}; choose a private range that no other key uses"
    room = 2 ** (NODE_PREFIX - network.pod_cidr.prefixlen) if network.pod_cidr.prefixlen <= NODE_PREFIX else 0
    if room < len(onprem.hosts):
        yield (
            f"onprem.network.pod_cidr: {network.pod_cidr} holds {room} ranges of /{NODE_PREFIX} "
            f"for {len(onprem.hosts)} hosts; choose a larger range, a /16 serves 256 hosts"
        )
    elif network.pod_cidr.prefixlen < NODE_PREFIX - 16:
        yield f"onprem.network.pod_cidr: {network.pod_cidr} is larger than Kubernetes takes; use a /8 or smaller"
    if not 12 <= network.service_cidr.prefixlen <= 24:
        yield f"onprem.network.service_cidr: {network.service_cidr} is not between /12 and /24; a /16 is usual"


def _all_ranges(environment: Environment) -> list[tuple[str, IPv4Network]]:
    """Every range of both sites, which are joined: an address means one thing on either."""
    sites: list[tuple[str, SiteNetwork | CloudNetwork]] = [("onprem", environment.onprem.network)]
    if environment.cloud:
        sites.append(("cloud", environment.cloud.network))
    return [
        (f"{site}.network.{key}", getattr(network, key))
        for site, network in sites
        for key in ("cidr", "pod_cidr", "service_cidr")
    ]


def _addresses(environment: Environment) -> Iterator[str]:
    onprem = environment.onprem
    network = onprem.network
    owners: dict[IPv4Address, str] = {}
    fixed = ("gateway", "mirror_address", "api_address", "ingress_address")
    entries = [(f"onprem.network.{key}", key, getattr(network, key)) for key in fixed]
    entries += [(f"onprem.hosts[{at}].address", host.name, host.address) for at, host in enumerate(onprem.hosts)]
    for key, owner, address in entries:
        if address not in network.cidr:
            yield f"{key}: {address} is outside onprem.network.cidr {network.cidr}; choose an address inside it"
        elif address in (network.cidr.network_address, network.cidr.broadcast_address):
            yield f"{key}: {address} is the first or last of {network.cidr}, which no host can have; choose another"
        if address in owners:
            what = "host" if key.startswith("onprem.hosts") else "key"
            yield f"{key}: {address} is also the address of {owners[address]}; give every {what} its own address"
        owners.setdefault(address, owner)


def _ports(environment: Environment) -> Iterator[str]:
    onprem = environment.onprem
    network = onprem.network
    taken = HOST_PORTS | {onprem.ssh.port: "sshd"} | (FOR_THE_OTHER_SITE if environment.cloud else {})
    for key in ("api_port", "ingress_port"):
        port = getattr(network, key)
        user = taken.get(port)
        if user:
            yield f"onprem.network.{key}: {port} is taken on the hosts by {user}; choose another, like 8443"
        if port in NODE_PORTS:
            yield f"onprem.network.{key}: {port} is in Kubernetes' NodePort range 30000-32767; choose one outside it"
    if network.api_port == network.ingress_port:
        yield f"onprem.network.ingress_port: {network.ingress_port} is also api_port; give each its own port"


def _names(environment: Environment) -> Iterator[str]:
    first: dict[str, int] = {}
    for at, host in enumerate(environment.onprem.hosts):
        if host.name in first:
            yield (
                f"onprem.hosts[{at}].name: {host.name} is also the name of onprem.hosts[{first[host.name]}]; "
                "give every host its own name"
            )
        first.setdefault(host.name, at)


def _roles(environment: Environment) -> Iterator[str]:
    onprem = environment.onprem
    for at, host in enumerate(onprem.hosts):
        if len(set(host.roles)) < len(host.roles):
            yield f"onprem.hosts[{at}].roles: {host.name} has a role twice; name each role once"
    planes = len(onprem.having("control_plane"))
    if planes % 2 == 0 or planes > 7:
        yield (
            f"onprem.hosts: {planes} have the role control_plane, but each is an etcd member and etcd needs "
            "an odd number, at most 7; use 1, or 3 or 5 to bear a loss"
        )
    balancers = len(onprem.having("load_balancer"))
    if balancers == 0 or (planes > 1 and balancers == 1):
        yield (
            f"onprem.hosts: {balancers} have the role load_balancer, so the API has a single point of failure; "
            "give the role to at least two hosts (one is enough beside a single control plane)"
        )


def _provisioner(environment: Environment) -> Iterator[str]:
    onprem = environment.onprem
    for at, host in enumerate(onprem.hosts):
        if onprem.provisioner == "hosts" and host.host_key is None:
            yield (
                f"onprem.hosts[{at}].host_key: {host.name} needs one, because host keys are known, never skipped; "
                f"add what `ssh-keyscan -t ed25519 {host.address}` prints, once you have compared it with the host"
            )
        if onprem.provisioner == "lab" and host.host_key is not None:
            yield f"onprem.hosts[{at}].host_key: a lab machine makes its own; remove the key"


def _capacity(environment: Environment) -> Iterator[str]:
    workers = len(environment.onprem.workers())
    store, inference = environment.platform.object_store, environment.workloads.inference
    if store.replicas == 2:
        yield "platform.object_store.replicas: 2 keep no majority when one is lost; use 3, or 1 where a loss is borne"
    wanted = [
        ("platform.object_store.replicas", store.replicas),
        ("workloads.inference.replicas", inference.replicas),
    ]
    if monitoring := environment.platform.monitoring:
        wanted.append(("platform.monitoring.replicas", monitoring.replicas))
    for key, replicas in wanted:
        if replicas > workers:
            yield (
                f"{key}: {replicas} replicas need as many hosts, but onprem.hosts has {workers} with the role worker "
                f"and no taint; lower it to {workers} or add workers"
            )


def _resources(environment: Environment) -> Iterator[str]:
    bounded: dict[str, Resources] = {
        "platform.object_store": environment.platform.object_store.resources,
        "workloads.training": environment.workloads.training.resources,
        "workloads.inference": environment.workloads.inference.resources,
    }
    if monitoring := environment.platform.monitoring:
        bounded["platform.monitoring"] = monitoring.resources
    for key, resources in bounded.items():
        for unit in ("cpu", "memory"):
            request, limit = getattr(resources.requests, unit), getattr(resources.limits, unit)
            if quantities.parse(request) > quantities.parse(limit):
                yield (
                    f"{key}.resources.requests.{unit}: {request} is more than the limit {limit}; "
                    "lower the request or raise the limit"
                )


def _cloud_site(environment: Environment) -> Iterator[str]:
    if (cloud := environment.cloud) is None:
        return
    for key in ("name", "id"):
        value = getattr(cloud.cluster, key)
        if value == getattr(environment.onprem.cluster, key):
            yield f"cloud.cluster.{key}: {value} is also onprem.cluster.{key}; meshed clusters need different ones"
    for at, zone in enumerate(cloud.zones):
        if zone[:-1] != cloud.region or not zone[-1].isalpha():
            yield f"cloud.zones[{at}]: {zone} is not a zone of {cloud.region}; write one like {cloud.region}a"
        if zone in cloud.zones[:at]:
            yield f"cloud.zones[{at}]: {zone} is named twice; name each zone once"
    network = cloud.network
    if not 16 <= network.cidr.prefixlen <= 20:
        yield f"cloud.network.cidr: {network.cidr} is not between /16 and /20, which hold the subnets; a /16 is usual"
    if not 12 <= network.service_cidr.prefixlen <= 24:
        yield f"cloud.network.service_cidr: {network.service_cidr} is not between /12 and /24; a /16 is usual"
    for at, allowed in enumerate(cloud.public_access_cidrs):
        if allowed.prefixlen == 0:
            yield (
                f"cloud.public_access_cidrs[{at}]: {allowed} is everybody; name the networks that may reach the API, "
                "or leave the key out to reach it through the link alone"
            )
    if cloud.link.site_asn == cloud.link.cloud_asn:
        yield f"cloud.link.cloud_asn: {cloud.link.cloud_asn} is also site_asn; give each side its own number"
    if cloud.provisioner == "lab" and environment.onprem.provisioner != "lab":
        yield "cloud.provisioner: lab needs the lab on-prem too; write aws, or set onprem.provisioner to lab"


def _node_groups(environment: Environment) -> Iterator[str]:
    if (cloud := environment.cloud) is None:
        return
    first: dict[str, int] = {}
    for at, group in enumerate(cloud.node_groups):
        key = f"cloud.node_groups[{at}]"
        if group.name in first:
            yield f"{key}.name: {group.name} is also the name of cloud.node_groups[{first[group.name]}]; rename"
        first.setdefault(group.name, at)
        if group.min > group.max:
            yield f"{key}.min: {group.min} is more than max {group.max}; lower min or raise max"
        elif not group.min <= group.desired <= group.max:
            yield f"{key}.desired: {group.desired} is not between min {group.min} and max {group.max}; change it"
        if group.capacity == "spot" and len(set(group.instance_types)) < 2:
            yield (
                f"{key}.instance_types: a spot group of a single type is empty when AWS takes that type back; "
                "name two or more of the same size"
            )
        for number, zone in enumerate(group.zones):
            if zone not in cloud.zones:
                yield f"{key}.zones[{number}]: {zone} is not one of cloud.zones; write one of {', '.join(cloud.zones)}"
            if zone in group.zones[:number]:
                yield f"{key}.zones[{number}]: {zone} is named twice; name each zone once"


def _eks(environment: Environment) -> Iterator[str]:
    cloud = environment.cloud
    if cloud is None or cloud.provisioner != "aws":
        return
    if not any(group.desired for group in cloud.node_groups if not nodes.taints(group)):
        yield (
            "cloud.node_groups: no group without taints and accelerators has a node, so that nothing would run there; "
            "give one of them a desired of 2 or more"
        )
    pods, most = cloud.network.pod_cidr, sum(group.max for group in cloud.node_groups)
    room = 2 ** max(0, NODE_PREFIX - pods.prefixlen)
    if room < most:
        yield (
            f"cloud.network.pod_cidr: {pods} holds {room} ranges of /{NODE_PREFIX} for up to {most} nodes; "
            "choose a larger range, a /16 serves 256 nodes"
        )


def _training_site(environment: Environment) -> Iterator[str]:
    if environment.workloads.training.site == "cloud" and environment.cloud is None:
        yield "workloads.training.site: cloud, but there is no cloud half; write onprem, or add the key cloud"


LAB_NODES = 16
"""Addresses that a lab keeps for each node group in each zone."""


def _lab_cloud(environment: Environment) -> Iterator[str]:
    cloud = environment.cloud
    if cloud is None or cloud.provisioner != "lab":
        return
    for at, group in enumerate(cloud.node_groups):
        key = f"cloud.node_groups[{at}]"
        if group.max > (most := LAB_NODES * len(cloud.zones_of(group))):
            yield f"{key}.max: {group.max} are more than the {most} of a lab; lower it"
        longest = f"{cloud.cluster.name}-{group.name}-{group.max}"
        if len(longest) > 32:
            yield f"{key}.name: the machine {longest} would have more than 32 characters; shorten it"


SMALLEST_POOL = "1Gi"
"""Below this the pool's file system has more bookkeeping than data."""


def _storage(environment: Environment) -> Iterator[str]:
    if (storage := environment.platform.storage) is None:
        return
    wanted, other = ("lab", "site") if environment.onprem.provisioner == "lab" else ("site", "lab")
    if getattr(storage, wanted) is None or getattr(storage, other) is not None:
        yield (
            f"platform.storage: onprem.provisioner {environment.onprem.provisioner} goes with the key {wanted} alone; "
            "the lab brings its own driver, on real hosts their owners run one"
        )
    if storage.lab and quantities.parse(storage.lab.capacity) < quantities.parse(SMALLEST_POOL):
        yield f"platform.storage.lab.capacity: {storage.lab.capacity} is too little; give {SMALLEST_POOL} or more"
    for key in ("default", "shared"):
        volumes = getattr(storage.site, key, None)
        if volumes and volumes.snapshot_parameters and not volumes.snapshots:
            yield (
                f"platform.storage.site.{key}.snapshot_parameters: there are some, but snapshots is false; "
                "remove them or set snapshots to true"
            )


SMALLEST_HISTORY = "1Gi"
"""Below this Prometheus' log of what it has just read is most of what it keeps."""


def _monitoring(environment: Environment) -> Iterator[str]:
    if (monitoring := environment.platform.monitoring) is None:
        return
    if quantities.parse(monitoring.capacity) < quantities.parse(SMALLEST_HISTORY):
        yield f"platform.monitoring.capacity: {monitoring.capacity} is too little; give {SMALLEST_HISTORY} or more"


def _model_age(environment: Environment) -> Iterator[str]:
    if environment.workloads.inference.max_model_age_days and environment.platform.monitoring is None:
        yield (
            "workloads.inference.max_model_age_days: an alert tells of it, but nobody watches the sites; "
            "add the key platform.monitoring, or leave this one out"
        )


def _status(environment: Environment) -> Iterator[str]:
    if (status := environment.platform.status) is None:
        return
    if environment.platform.monitoring is None:
        yield "platform.status: it shows alerts, but nobody watches the sites; add the key platform.monitoring"
    onprem = environment.onprem
    taken = {onprem.ssh.port: "sshd", **HOST_PORTS, **FOR_THE_OTHER_SITE}
    taken |= {onprem.network.api_port: "the API's address", onprem.network.ingress_port: "the workloads"}
    if user := taken.get(status.port):
        yield f"platform.status.port: {status.port} is taken on the hosts by {user}; choose another, like 8081"
    if status.port in NODE_PORTS:
        yield f"platform.status.port: {status.port} is in Kubernetes' NodePort range 30000-32767; choose one outside it"


Check = Callable[["Environment"], Iterator[str]]

CHECKS: tuple[Check, ...] = (
    _version,
    _ranges,
    _addresses,
    _ports,
    _names,
    _roles,
    _provisioner,
    _capacity,
    _resources,
    autoscaling_checks.room,
    autoscaling_checks.cpu,
    autoscaling_checks.targets,
    _cloud_site,
    _node_groups,
    _eks,
    _training_site,
    _lab_cloud,
    accelerator_checks.names,
    accelerator_checks.where_they_are,
    accelerator_checks.settings,
    accelerator_checks.training,
    _storage,
    _monitoring,
    alert_checks.names,
    alert_checks.ways,
    alert_checks.resolvers,
    alert_checks.heard,
    _model_age,
    _status,
)


def problems(environment: Environment) -> list[str]:
    """Every problem between keys, in the order of the file."""
    return [problem for check in CHECKS for problem in check(environment)]
