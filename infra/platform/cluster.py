"""What the platform must know about the cluster that it is installed on: plain values, the same on every site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

import pulumi

from infra import addressing, nodes
from infra.environment import Cloud, Onprem
from infra.naming import MIRROR_METRICS_PORT

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")

HTTPS: Final = 443

OBJECT_STORE_OFFSET: Final = 11
"""The first replica's own address; the others follow. Kubernetes keeps the range's start for such fixed use."""

PROMETHEUS_OFFSET: Final = 8
"""Where hosts ask the site's Prometheus, which use no names."""

VIEW_OFFSET: Final = 9
"""Where the site's own Prometheus sends to, which uses no names."""


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """That Cilium's ClusterMesh joins the cluster with the other site's."""

    peer: str
    """Cilium's name of the other cluster."""
    peer_nodes: IPv4Network
    """Where its hosts are."""
    peer_pods: IPv4Network
    """Where its pods are, and the addresses that its hosts have among them."""
    names: tuple[str, ...] = ()
    """By which names the other cluster's agents call this one's mesh; `*.` stands for any first part."""
    addresses: tuple[IPv4Address, ...] = ()
    """The same, where they call it by address."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One cluster's identity, addresses and workers."""

    name: str
    """Cilium's name of it."""
    id: int
    """Cilium's number of it, 1 to 255."""
    api_host: pulumi.Input[str]
    """Where agents reach the API when Services do not work yet: the floating address, or a name that AWS gives."""
    api_port: int
    node_cidr: IPv4Network
    pod_cidr: IPv4Network
    service_cidr: IPv4Network
    workers: tuple[str, ...]
    """Names of the nodes that take any pod, in the order of the environment file; of those that AWS names itself only
    the number counts."""
    tainted: bool
    """Whether there are nodes beside these, which keep most pods away."""
    load_balancers: Mapping[str, IPv4Address]
    """Hosts that hold the floating addresses, by name: their own addresses."""
    linked: bool
    """Whether nodes end tunnels to the other site."""
    cgroup_root: str
    """Where the nodes mount cgroup v2, which Cilium attaches its programs to."""
    senders: tuple[IPv4Network, ...]
    """Where requests come from that load balancers pass on."""
    api_server_port: int = 6443
    """Where each API server listens itself: the address of its Service is translated before policy is applied."""
    eks: bool = False
    """Whether Amazon runs the API servers and makes nodes and load balancers."""
    mesh: Mesh | None = None
    """None where the site stands alone."""
    gpu_hosts: Mapping[str, IPv4Address] = field(default_factory=dict)
    """Hosts with the DCGM exporter, by name: their own addresses."""
    registry_metrics: str | None = None
    """HOST:PORT where the site's registry tells of itself over HTTP; None where it does not."""

    def service_address(self, offset: int) -> IPv4Address:
        """A fixed address in the Services' range."""
        return self.service_cidr[offset]

    @property
    def dns_address(self) -> IPv4Address:
        """Where pods ask for names."""
        return addressing.dns(self.service_cidr)


def of_hosts(
    site: Onprem,
    cgroup_root: Path = CGROUP_ROOT,
    *,
    linked: bool = False,
    mesh: Mesh | None = None,
    nvidia_hosts: Sequence[str] = (),
) -> Cluster:
    """The cluster of a site of hosts; `nvidia_hosts` are names of those that role `nvidia` takes care of."""
    return Cluster(
        name=site.cluster.name,
        id=site.cluster.id,
        api_host=str(site.network.api_address),
        api_port=site.network.api_port,
        node_cidr=site.network.cidr,
        pod_cidr=site.network.pod_cidr,
        service_cidr=site.network.service_cidr,
        workers=tuple(host.name for host in site.workers()),
        tainted=any(host not in site.workers() for host in (*site.having("control_plane"), *site.having("worker"))),
        load_balancers={host.name: host.address for host in site.having("load_balancer")},
        linked=linked,
        cgroup_root=cgroup_mount(site, cgroup_root),
        # A load balancer sends from its host's own address, or, to a pod on another host, from the address that its
        # host has in the pod network. Of that network Cilium matches hosts alone here: pods go by labels.
        senders=(site.network.cidr, site.network.pod_cidr),
        mesh=mesh,
        gpu_hosts={host.name: host.address for host in site.hosts if host.name in nvidia_hosts},
        registry_metrics=_registry_metrics(site),
    )


def of_eks(cloud: Cloud, site: IPv4Network, api_host: pulumi.Input[str], *, mesh: Mesh | None = None) -> Cluster:
    """The cloud half's cluster at Amazon; `site` is the range of the hosts at the link's other end."""
    network = cloud.network
    return Cluster(
        name=cloud.cluster.name,
        id=cloud.cluster.id,
        api_host=api_host,
        api_port=HTTPS,
        node_cidr=network.cidr,
        pod_cidr=network.pod_cidr,
        service_cidr=network.service_cidr,
        workers=tuple(
            f"{group.name}-{number}"
            for group in cloud.node_groups
            if not nodes.taints(group)
            for number in range(1, group.desired + 1)
        ),
        tainted=any(nodes.taints(group) for group in cloud.node_groups),
        load_balancers={},
        linked=False,
        cgroup_root=str(CGROUP_ROOT),
        # Amazon's load balancers leave the client's own address in what they pass on.
        senders=(network.cidr, network.pod_cidr, site),
        api_server_port=HTTPS,
        eks=True,
        mesh=mesh,
    )


def _registry_metrics(site: Onprem) -> str | None:
    port = MIRROR_METRICS_PORT if site.provisioner == "lab" else site.network.mirror_metrics_port
    return f"{site.network.mirror_address}:{port}" if port else None


def cgroup_mount(site: Onprem, cgroup_root: Path = CGROUP_ROOT) -> str:
    """Where the site's hosts mount cgroup v2.

    Lab machines see this machine's mounts, whatever they are. Other hosts must boot with cgroup v2 alone: the kubelet
    refuses version 1 unless told otherwise.
    """
    unified = cgroup_root / "unified"
    hybrid = site.provisioner == "lab" and (unified / "cgroup.procs").exists()
    return str(unified if hybrid else cgroup_root)
