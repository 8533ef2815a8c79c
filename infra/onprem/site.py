"""A site of hosts as the rest of the program sees it: a cluster, whoever provided the machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

import pulumi

from infra import settings
from infra.artifacts import Index
from infra.environment import Onprem
from infra.naming import TcpService
from infra.onprem.cluster import Cluster, ClusterArgs
from infra.onprem.lab import Lab, LabArgs
from infra.resources import Network


@dataclass(frozen=True, kw_only=True)
class SiteArgs:
    """`environment` is its name; `tcp_services`: what the ingress address serves beside the workloads."""

    environment: str
    site: Onprem
    kubernetes_version: str
    index: Index
    tcp_services: Sequence[TcpService] = ()
    linked: bool = False
    """Whether the hosts end tunnels, which follow the API's floating address."""
    peer: IPv4Network | None = None
    """Where the other site's hosts are, whose pods' traffic comes through the link."""
    nvidia_hosts: Sequence[str] = ()
    """Names of the hosts that get NVIDIA's driver and container toolkit."""
    backup_store: Mapping[str, Any] = field(default_factory=dict)
    """Where control planes send backups (ansible/roles/etcd_backup); empty: nowhere."""


class Site(pulumi.ComponentResource):
    """Hosts and their cluster. `cluster` is what everything in the cluster is gone with when it is deleted."""

    cluster: Cluster
    network: Network | None
    """Of a lab; the machines are gone with it."""
    host_keys: Mapping[str, pulumi.Input[str]]
    kubeconfig: pulumi.Output[str]

    def __init__(self, name: str, args: SiteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:onprem:Site", name, None, opts)
        environment, site = args.environment, args.site
        self.network = None
        options = pulumi.ResourceOptions(parent=self)
        host_keys: dict[str, pulumi.Input[str]] = {host.name: host.host_key or "" for host in site.hosts}
        if site.provisioner == "lab":
            lab = Lab(
                "lab",
                LabArgs(
                    environment=environment,
                    network=f"isthmus-{environment}-{name}",
                    site=site,
                    index=args.index,
                    authorized_key=settings.authorized_key(environment),
                ),
                options,
            )
            self.network = lab.network
            host_keys = dict(lab.host_keys)
            # Deleting the machines is the reset: the playbook is not run against machines that are about to go.
            options = pulumi.ResourceOptions(parent=self, deleted_with=lab.network)
        self.host_keys = host_keys
        self.cluster = Cluster(
            name,
            ClusterArgs(
                environment=environment,
                site=site,
                kubernetes_version=args.kubernetes_version,
                index=args.index,
                tcp_services=args.tcp_services,
                linked=args.linked,
                peer=args.peer,
                nvidia_hosts=args.nvidia_hosts,
                backup_store=args.backup_store,
                host_keys=host_keys,
                private_key=str(settings.private_key(environment)),
                check_on_diff=site.check_hosts or settings.hosts_asked_for(),
            ),
            options,
        )
        self.kubeconfig = self.cluster.kubeconfig
        self.register_outputs({"kubeconfig": self.kubeconfig})
