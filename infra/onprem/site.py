"""The on-prem site as the rest of the program sees it: a cluster, whoever provided the machines."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra import settings
from infra.artifacts import Index
from infra.environment import Environment
from infra.onprem.cluster import Cluster, ClusterArgs
from infra.onprem.lab import Lab, LabArgs


@dataclass(frozen=True, kw_only=True)
class SiteArgs:
    """The environment, and what the mirror holds for it."""

    environment: Environment
    index: Index


class Site(pulumi.ComponentResource):
    """Hosts and their cluster. `cluster` is what everything in the cluster is gone with when it is deleted."""

    cluster: Cluster
    kubeconfig: pulumi.Output[str]

    def __init__(self, name: str, args: SiteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:onprem:Site", name, None, opts)
        environment, site = args.environment, args.environment.onprem
        options = pulumi.ResourceOptions(parent=self)
        host_keys: dict[str, pulumi.Input[str]] = {host.name: host.host_key or "" for host in site.hosts}
        if site.provisioner == "lab":
            key = settings.authorized_key(environment.name)
            lab = Lab("lab", LabArgs(environment=environment, index=args.index, authorized_key=key), options)
            host_keys = dict(lab.host_keys)
            # Deleting the machines is the reset: the playbook is not run against machines that are about to go.
            options = pulumi.ResourceOptions(parent=self, deleted_with=lab.network)
        self.cluster = Cluster(
            name,
            ClusterArgs(
                environment=environment,
                index=args.index,
                host_keys=host_keys,
                private_key=str(settings.private_key(environment.name)),
                check_on_diff=site.check_hosts or settings.hosts_asked_for(),
            ),
            options,
        )
        self.kubeconfig = self.cluster.kubeconfig
        self.register_outputs({"kubeconfig": self.kubeconfig})
