"""Training: a Job that publishes a model and promotes it to champion if it is good enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import batch, core

from infra.artifacts import Artifact
from infra.environment import Training as Settings
from infra.naming import WORKLOADS_NAMESPACE as NAMESPACE
from infra.platform import pods, priorities
from infra.workloads import model_store
from infra.workloads.model_store import ModelStore

APP: Final = "training"

DEADLINE_S: Final = 900

FINAL_STATUSES: Final = (2, 3, 4)
"""Exit statuses that a second try would only repeat: bad settings, bad data, a model that is not good enough."""


@dataclass(frozen=True, kw_only=True)
class TrainingArgs:
    """`model`: under which name it is published, in `store`."""

    settings: Settings
    model: str
    image: Artifact
    store: ModelStore


class Training(pulumi.ComponentResource):
    """Runs again, under a new name, when its image or a setting changes; `job` is done when a champion exists."""

    job: batch.v1.Job

    def __init__(self, name: str, args: TrainingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:workloads:Training", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        account = model_store.account(APP, child)
        policy = model_store.network(APP, args.store, ingress=[], opts=child)
        pod = _pod(args, pods.image(args.image))
        # What it runs on may be known only once the store has been made.
        run = pulumi.Output.from_input(pod).apply(lambda known: pods.content_name(APP, known))
        self.job = batch.v1.Job(
            APP,
            metadata={
                **pods.metadata(APP, namespace=NAMESPACE, annotations=pods.RERUN_FAILED),
                "name": run,
            },
            spec={
                "backoff_limit": 3,
                "active_deadline_seconds": DEADLINE_S,
                "pod_failure_policy": {
                    "rules": [
                        # A host that goes away is nobody's failure.
                        {"action": "Ignore", "on_pod_conditions": [{"type": "DisruptionTarget", "status": "True"}]},
                        {
                            "action": "FailJob",
                            "on_exit_codes": {
                                "container_name": APP,
                                "operator": "In",
                                "values": list(FINAL_STATUSES),
                            },
                        },
                    ]
                },
                "template": {
                    "metadata": {"labels": pods.selector(APP), "annotations": args.store.annotations()},
                    "spec": pod,
                },
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[policy, account],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{DEADLINE_S}s"),
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
                "resources": pods.amounts(settings.resources),
                "security_context": pods.locked(),
                "volume_mounts": [*args.store.mounts(), {"name": "tmp", "mount_path": "/tmp"}],
                "termination_message_policy": "FallbackToLogsOnError",
            }
        ],
        "volumes": [*args.store.volumes(), pods.scratch("tmp", "256Mi")],
    }
