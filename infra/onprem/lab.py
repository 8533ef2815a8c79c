"""Machines where there are none: a bridge with the site's mirror on it, and one podman machine for each host."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra import addressing, naming
from infra.artifacts import Index
from infra.environment import Onprem
from infra.paths import CACHE, ROOT, state
from infra.resources import Machine, Network


@dataclass(frozen=True, kw_only=True)
class LabArgs:
    """`network`: the bridge's name at podman; `authorized_key`: the public key that may log in to the machines."""

    environment: str
    network: str
    site: Onprem
    index: Index
    authorized_key: str


class Lab(pulumi.ComponentResource):
    """The site's network and machines; `host_keys` maps each host's name to the ssh key that its machine made."""

    network: Network
    host_keys: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: LabArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:onprem:Lab", name, None, opts)
        environment, site = args.environment, args.site
        image = args.index.artifact("machine")
        # A site that may not be reset is not deleted by mistake either.
        child = pulumi.ResourceOptions(parent=self, protect=not site.reset_allowed)
        self.network = Network(
            name,
            name=args.network,
            cidr=str(site.network.cidr),
            gateway=str(site.network.gateway),
            mirror_address=str(site.network.mirror_address),
            registry_binary=str(args.index.artifact("registry").local),
            registry_storage=str(CACHE / "mirror" / "registry"),
            image=str(image.local),
            image_digest=image.digest,
            checkout=str(ROOT),
            environment=environment,
            opts=child,
        )
        machines = {
            host.name: Machine(
                host.name,
                hostname=host.name,
                network=self.network.name,
                address=str(host.address),
                mac=addressing.mac(host.address),
                image=str(image.local),
                image_digest=image.digest,
                authorized_key=args.authorized_key,
                disks={at: disk(environment, host.name, at) for at in naming.MACHINE_DISKS},
                shared={naming.LAB_NAS: nas(environment, site.cluster.name)},
                checkout=str(ROOT),
                environment=environment,
                opts=child,
            )
            for host in site.hosts
        }
        self.host_keys = {host: machine.host_key for host, machine in machines.items()}
        self.register_outputs({})


def nas(environment: str, cluster: str) -> str:
    """The folder that stands for the site's storage: each machine of the site sees it, and none takes it along."""
    return str(state(environment) / "nas" / cluster)


def disk(environment: str, host: str, mount_point: str) -> str:
    """The folder in which a machine's disk is kept."""
    return str(state(environment) / "machines" / host / naming.disk_folder(mount_point))
