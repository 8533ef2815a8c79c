"""Training: a Job that publishes a model and promotes it to champion if it is good enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes import batch, core

from infra.artifacts import Artifact
from infra.environment import Training as Settings
from infra.naming import WORKLOADS_NAMESPACE as NAMESPACE
from infra.nodes import Offer
from infra.platform import pods, priorities
from infra.workloads import accelerated, model_store
from infra.workloads.model_store import ModelStore

APP: Final = "training"

DEADLINE_S: Final = 900

QUEUE_S: Final = 3600
"""How much longer a run may take that asks for an accelerator: so long it may wait while all are taken."""

TRIES_MORE: Final = 2
"""So many hosts may be lost under a run. A run with bad data is tried as often, for nothing: a `podFailurePolicy` would
end it at once, and with one Kubernetes replaces no pod of a lost host until that host comes back."""


@dataclass(frozen=True, kw_only=True)
class TrainingArgs:
    """`model`: under which name it is published, in `store`; `accelerators`: those of the site."""

    settings: Settings
    model: str
    image: Artifact
    store: ModelStore
    accelerators: tuple[Offer, ...] = ()


class Training(pulumi.ComponentResource):
    """Runs again, under a new name, when its image or a setting changes; `job` is done when a champion exists."""

    job: batch.v1.Job

    def __init__(self, name: str, args: TrainingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:workloads:Training", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        account = model_store.account(APP, child)
        policy = model_store.network(APP, args.store, ingress=[], opts=child)
        placement = accelerated.placement(args.settings.accelerator, args.accelerators)
        pod: Any = {**_pod(args, pods.image(args.image)), **placement}
        # What it runs on may be known only once the store has been made.
        run = pulumi.Output.from_input(pod).apply(lambda known: pods.content_name(APP, known))
        deadline = DEADLINE_S + (QUEUE_S if args.settings.accelerator else 0)
        self.job = batch.v1.Job(
            APP,
            metadata={
                **pods.metadata(APP, namespace=NAMESPACE, annotations=pods.RERUN_FAILED),
                "name": run,
            },
            spec={
                "backoff_limit": TRIES_MORE,
                "pod_replacement_policy": "TerminatingOrFailed",
                "active_deadline_seconds": deadline,
                "template": {
                    "metadata": {"labels": pods.selector(APP), "annotations": args.store.annotations()},
                    "spec": pod,
                },
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[policy, account],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{deadline}s"),
            ),
        )
        self.register_outputs({})


def _pod(args: TrainingArgs, image: str) -> core.v1.PodSpecArgsDict:
    settings = args.settings
    own = {"ISTHMUS_THRESHOLD": str(settings.threshold), "ISTHMUS_SEED": str(settings.seed), "HOME": "/tmp"}
    return {
        "restart_policy": "Never",
        "service_account_name": APP,
        "priority_class_name": priorities.BATCH,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "containers": [
            {
                "name": APP,
                "image": image,
                "env": model_store.variables(args.store.settings("S3") | model_store.about(args.model) | own),
                "resources": accelerated.amounts(settings.resources, settings.accelerator),
                "security_context": pods.locked(),
                "volume_mounts": [*args.store.mounts(), {"name": "tmp", "mount_path": "/tmp"}],
                "termination_message_policy": "FallbackToLogsOnError",
            }
        ],
        "volumes": [*args.store.volumes(), pods.scratch("tmp", "256Mi")],
    }
