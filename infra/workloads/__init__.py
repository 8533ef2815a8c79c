"""What the cluster is for: training a model and serving it.

`Workloads(name, WorkloadsArgs(...), opts)`; opts bring the Kubernetes provider of the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra.artifacts import Index
from infra.environment import Environment
from infra.naming import WORKLOADS_NAMESPACE
from infra.platform import Platform, namespaces
from infra.workloads.inference import Inference, InferenceArgs
from infra.workloads.training import Training, TrainingArgs

__all__ = ["Workloads", "WorkloadsArgs"]


@dataclass(frozen=True, kw_only=True)
class WorkloadsArgs:
    """The environment, what the mirror holds for it, and the platform that it all runs on."""

    environment: Environment
    index: Index
    platform: Platform


class Workloads(pulumi.ComponentResource):
    """Done once a model has been trained and every replica serves it."""

    training: Training
    inference: Inference

    def __init__(self, name: str, args: WorkloadsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:workloads:Workloads", name, None, opts)
        platform, settings = args.platform, args.environment.workloads
        namespace = namespaces.confined(WORKLOADS_NAMESPACE, opts=pulumi.ResourceOptions(parent=self))
        credentials = platform.object_store.credentials
        secret = credentials.secret_in(
            WORKLOADS_NAMESPACE, opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        )
        self.training = Training(
            "training",
            TrainingArgs(
                settings=settings.training,
                model=settings.inference.model,
                image=args.index.artifact("training"),
                credentials=credentials.mark,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[namespace, secret, *platform.ready]),
        )
        # After training: on a new site nothing can be served before there is a champion.
        self.inference = Inference(
            "inference",
            InferenceArgs(
                settings=settings.inference,
                image=args.index.artifact("inference"),
                # A load balancer sends from its host's own address, or, to a pod on another host, from the address that
                # its host has in the pod network. Of that network Cilium matches hosts alone here: pods go by labels.
                ingress=(platform.cluster.node_cidr, platform.cluster.pod_cidr),
                credentials=credentials.mark,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[namespace, secret, self.training.job]),
        )
        self.register_outputs({})
