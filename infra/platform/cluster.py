"""What the platform must know about the cluster that it is installed on: plain values, the same on every site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from infra import addressing
from infra.environment import Onprem

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")

OBJECT_STORE_OFFSET: Final = 11
"""The first replica's own address; the others follow. Kubernetes keeps the range's start for such fixed use."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One cluster's identity, addresses and workers."""

    name: str
    """Cilium's name of it."""
    id: int
    """Cilium's number of it, 1 to 255."""
    api_host: str
    """Where agents reach the API when Services do not work yet: the floating address."""
    api_port: int
    node_cidr: IPv4Network
    pod_cidr: IPv4Network
    service_cidr: IPv4Network
    workers: tuple[str, ...]
    """Names of the nodes that take any pod, in the order of the environment file."""
    load_balancers: Mapping[str, IPv4Address]
    """Hosts that hold the floating addresses, by name: their own addresses."""
    linked: bool
    """Whether nodes end tunnels to the other site."""
    cgroup_root: str
    """Where the nodes mount cgroup v2, which Cilium attaches its programs to."""

    def service_address(self, offset: int) -> IPv4Address:
        """A fixed address in the Services' range."""
        return self.service_cidr[offset]

    @property
    def dns_address(self) -> IPv4Address:
        """Where pods ask for names."""
        return addressing.dns(self.service_cidr)


def of_hosts(site: Onprem, cgroup_root: Path = CGROUP_ROOT, *, linked: bool = False) -> Cluster:
    """The cluster of a site of hosts."""
    return Cluster(
        name=site.cluster.name,
        id=site.cluster.id,
        api_host=str(site.network.api_address),
        api_port=site.network.api_port,
        node_cidr=site.network.cidr,
        pod_cidr=site.network.pod_cidr,
        service_cidr=site.network.service_cidr,
        workers=tuple(host.name for host in site.workers()),
        load_balancers={host.name: host.address for host in site.having("load_balancer")},
        linked=linked,
        cgroup_root=cgroup_mount(site, cgroup_root),
    )


def cgroup_mount(site: Onprem, cgroup_root: Path = CGROUP_ROOT) -> str:
    """Where the site's hosts mount cgroup v2.

    Lab machines see this machine's mounts, whatever they are. Other hosts must boot with cgroup v2 alone: the kubelet
    refuses version 1 unless told otherwise.
    """
    unified = cgroup_root / "unified"
    hybrid = site.provisioner == "lab" and (unified / "cgroup.procs").exists()
    return str(unified if hybrid else cgroup_root)
