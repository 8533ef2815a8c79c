"""What the cluster is for: training a model and serving it.

`Workloads(name, WorkloadsArgs(...), opts)`; opts bring the Kubernetes provider of the cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi

from infra.artifacts import Index
from infra.environment import Workloads as Settings
from infra.naming import WORKLOADS_NAMESPACE
from infra.platform import Platform, namespaces
from infra.workloads.inference import Inference, InferenceArgs
from infra.workloads.model_store import ModelStore
from infra.workloads.replication import Copies, Replication, ReplicationArgs
from infra.workloads.training import Training, TrainingArgs

__all__ = ["Workloads", "WorkloadsArgs"]

ROLLOUT_S: Final = 300
FIRST_MODEL_S: Final = 1800
"""Where no training runs, serving begins when the other site's first champion has been copied."""


@dataclass(frozen=True, kw_only=True)
class WorkloadsArgs:
    """`store` is what this site serves from; `trains`: whether training runs here; `copies`: what its pods copy."""

    settings: Settings
    index: Index
    platform: Platform
    store: ModelStore
    trains: bool
    copies: Sequence[Copies] = ()


class Workloads(pulumi.ComponentResource):
    """Done once every replica serves a model."""

    inference: Inference

    def __init__(self, name: str, args: WorkloadsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:workloads:Workloads", name, None, opts)
        platform, settings = args.platform, args.settings
        namespace = namespaces.confined(WORKLOADS_NAMESPACE, opts=pulumi.ResourceOptions(parent=self))
        inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        both = [store for one in args.copies for store in (one.source, one.destination)]
        stores = {store.secret: store for store in (args.store, *both)}
        secrets = [secret for store in stores.values() for secret in store.secrets(inside)]
        ready: list[pulumi.Resource] = [namespace, *secrets, *platform.ready]
        after = pulumi.ResourceOptions(parent=self, depends_on=ready)
        for copies in args.copies:
            Replication(
                copies.work.app,
                ReplicationArgs(
                    copies=copies,
                    image=args.index.artifact("replication"),
                    metrics_readers=platform.metrics_readers,
                ),
                after,
            )
        if args.trains:
            training = Training(
                "training",
                TrainingArgs(
                    settings=settings.training,
                    model=settings.inference.model,
                    image=args.index.artifact("training"),
                    store=args.store,
                    accelerators=platform.accelerators,
                ),
                after,
            )
            # After training: on a new site nothing can be served before there is a champion.
            after = pulumi.ResourceOptions(parent=self, depends_on=[*ready, training.job])
        self.inference = Inference(
            "inference",
            InferenceArgs(
                settings=settings.inference,
                image=args.index.artifact("inference"),
                cluster=platform.cluster,
                store=args.store,
                patience_s=ROLLOUT_S if args.trains else FIRST_MODEL_S,
                readers=(*platform.metrics_readers, *platform.viewers),
            ),
            after,
        )
        self.register_outputs({})
