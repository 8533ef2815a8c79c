"""The images that the cloud half's nodes at Amazon pull: copied from the mirror to repositories in the same account.

Their names follow from account, region and cluster, so that a preview shows what will run; their digests are the
mirror's. Tags at Amazon never move, so each has a part of the digest in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi
from pulumi_aws import ecr

from infra import nodes
from infra.accelerators import IMAGES
from infra.artifacts import Artifact, Index
from infra.environment import Cloud, Environment
from infra.naming import GRAFANA, MESH_IMAGE, MONITORING, STATUS
from infra.paths import CACHE
from infra.resources import Image

NETWORK: Final = ("cilium", "cilium-operator", MESH_IMAGE)

PLATFORM: Final = (*NETWORK, IMAGES["nvidia"], *MONITORING, GRAFANA, STATUS)
"""Those that have a repository whatever the file asks for: what is asked for no longer may still run."""


def platform(environment: Environment) -> tuple[str, ...]:
    """Names of the images of the platform that the cloud half needs."""
    wanted = environment.platform
    devices = (IMAGES[offer.accelerator.plugin] for offer in nodes.offers(environment, "cloud"))
    return (
        *NETWORK,
        *dict.fromkeys(devices),
        *(MONITORING if wanted.monitoring else ()),
        *((GRAFANA,) if wanted.monitoring and wanted.monitoring.grafana else ()),
        *((STATUS,) if wanted.status else ()),
    )


def workloads(environment: Environment) -> tuple[str, ...]:
    """Names of the images of the workloads that the cloud half runs."""
    trains = environment.workloads.training.site == "cloud"
    return ("inference", "replication", *(("training",) if trains else ()))


def index(cloud: Cloud, mirror: Index) -> Index:
    """The mirror's index as the nodes at Amazon see it: images by their names there, everything else as it is."""
    registry = f"{cloud.account_id}.dkr.ecr.{cloud.region}.amazonaws.com"
    return Index(
        artifacts={
            name: one.model_copy(update={"ref": f"{registry}/{cloud.cluster.name}/{name}:{_tag(one)}"})
            if one.kind == "image"
            else one
            for name, one in mirror.artifacts.items()
        }
    )


def _tag(image: Artifact) -> str:
    return f"{image.image.rpartition(':')[2]}-{image.sha256[:12]}"


class Images(pulumi.ComponentResource):
    """`copied` by name; each is done once nodes can pull it."""

    copied: dict[str, pulumi.Resource]

    def __init__(
        self,
        name: str,
        *,
        names: tuple[str, ...],
        there: Index,
        repositories: Mapping[str, ecr.Repository],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`there`: the index as nodes see it."""
        super().__init__("isthmus:cloud:Images", name, None, opts)
        self.copied = {
            one: Image(
                one,
                repository=repositories[one].repository_url,
                reference=there.artifact(one).image,
                digest=there.artifact(one).digest,
                storage=str(CACHE / "mirror" / "registry"),
                opts=pulumi.ResourceOptions(parent=self),
            )
            for one in names
        }
        self.register_outputs({})
