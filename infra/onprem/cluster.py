"""The hosts become a cluster: one playbook, whose result is the cluster's kubeconfig."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

import pulumi

from infra import inventory
from infra.artifacts import Index
from infra.environment import Onprem
from infra.naming import TcpService
from infra.paths import ROOT, state
from infra.providers.isthmus.roles_digest import roles_digest
from infra.resources import Playbook

FOLDER = ROOT / "ansible"

PLAYBOOK = "site.yml"

TIMEOUT_S = 1800
"""Longest that one run may take, with room for a slow mirror; a run without news ends long before."""


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """`host_keys`: host name -> ssh host key. A machine that is replaced has a new one, so the playbook runs again."""

    environment: str
    site: Onprem
    kubernetes_version: str
    index: Index
    tcp_services: Sequence[TcpService]
    linked: bool
    peer: IPv4Network | None
    nvidia_hosts: Sequence[str]
    host_keys: Mapping[str, pulumi.Input[str]]
    private_key: str
    check_on_diff: bool
    backup_store: Mapping[str, Any]


class Cluster(pulumi.ComponentResource):
    """The Kubernetes cluster of the site of that name; `kubeconfig` is its administrator's, and secret."""

    playbook: Playbook
    kubeconfig: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:onprem:Cluster", name, None, opts)
        site = args.site
        self.playbook = Playbook(
            name,
            playbook=PLAYBOOK,
            folder=str(FOLDER),
            inventory=inventory.inventory(site, args.host_keys, args.nvidia_hosts),
            variables=inventory.variables(
                name,
                site,
                args.kubernetes_version,
                args.index,
                args.tcp_services,
                linked=args.linked,
                peer=args.peer,
                backup_store=args.backup_store,
            ),
            roles_digest=roles_digest(FOLDER, PLAYBOOK),
            outputs=["kubeconfig"],
            private_key_path=args.private_key,
            work_dir=str(state(args.environment) / "ansible" / name),
            timeout_s=TIMEOUT_S,
            check_on_diff=args.check_on_diff,
            reset_allowed=site.reset_allowed,
            reset_playbook="reset.yml",
            # Deleting it wipes the hosts.
            opts=pulumi.ResourceOptions(parent=self, protect=not site.reset_allowed),
        )
        self.kubeconfig = pulumi.Output.secret(self.playbook.result("kubeconfig"))
        self.register_outputs({"kubeconfig": self.kubeconfig})
