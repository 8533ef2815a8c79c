"""Which clusters Cilium's ClusterMesh joins: the two sites', wherever an environment has both; pure functions."""

from __future__ import annotations

from typing import Final

from infra.cloud import lab_site
from infra.environment import Cloud, Environment, Onprem
from infra.platform.cluster import Mesh

AUTHORITY: Final = "isthmus-mesh"
"""Subject of the authority that both sites' certificates of the mesh are of."""


def onprem(env: Environment) -> Mesh | None:
    """What the on-prem cluster has to know of the mesh; None where the site stands alone."""
    if env.cloud is None:
        return None
    return Mesh(
        peer=env.cloud.cluster.name,
        peer_nodes=env.cloud.network.cidr,
        peer_pods=env.cloud.network.pod_cidr,
        addresses=(env.onprem.network.ingress_address,),
    )


def cloud(site: Onprem, settings: Cloud) -> Mesh:
    """What the cloud half's cluster has to know of it."""
    amazons = settings.provisioner == "aws"
    return Mesh(
        peer=site.cluster.name,
        peer_nodes=site.network.cidr,
        peer_pods=site.network.pod_cidr,
        # Amazon names a load balancer when it is made; nobody but the mesh trusts the authority.
        names=(f"*.elb.{settings.region}.amazonaws.com",) if amazons else (),
        addresses=() if amazons else (lab_site.site(settings).network.ingress_address,),
    )
