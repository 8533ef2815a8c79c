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
from infra.workloads import store_access

APP: Final = "training"

DEADLINE_S: Final = 900

FINAL_STATUSES: Final = (2, 3, 4)
"""Exit statuses that a second try would only repeat: bad settings, bad data, a model that is not good enough."""


@dataclass(frozen=True, kw_only=True)
class TrainingArgs:
    """`model`: under which name it is published; `credentials`: a plain mark that changes with the store's key."""

    settings: Settings
    model: str
    image: Artifact
    credentials: pulumi.Input[str]


class Training(pulumi.ComponentResource):
    """Runs again, under a new name, when its image or a setting changes; `job` is done when a champion exists."""

    job: batch.v1.Job

    def __init__(self, name: str, args: TrainingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:workloads:Training", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        policy = store_access.network(APP, NAMESPACE, ingress=[], opts=child)
        pod = _pod(args, pods.image(args.image))
        run = pods.content_name(APP, pod)
        self.job = batch.v1.Job(
            APP,
            metadata=pods.metadata(APP, name=run, namespace=NAMESPACE, annotations=pods.RERUN_FAILED),
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
                    "metadata": {"labels": pods.selector(APP), "annotations": {store_access.MARK: args.credentials}},
                    "spec": pod,
                },
            },
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[policy], custom_timeouts=pulumi.CustomTimeouts(create=f"{DEADLINE_S}s")
            ),
        )
        self.register_outputs({})


def _pod(args: TrainingArgs, image: str) -> core.v1.PodSpecArgsDict:
    settings = args.settings
    own = {"ISTHMUS_THRESHOLD": str(settings.threshold), "ISTHMUS_SEED": str(settings.seed), "HOME": "/tmp"}
    return {
        "restart_policy": "Never",
        "priority_class_name": priorities.BATCH,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": pods.unprivileged(),
        "containers": [
            {
                "name": APP,
                "image": image,
                "env": store_access.variables(store_access.settings(args.model) | own),
                "resources": pods.amounts(settings.resources),
                "security_context": pods.locked(),
                "volume_mounts": [store_access.mount(), {"name": "tmp", "mount_path": "/tmp"}],
                "termination_message_policy": "FallbackToLogsOnError",
            }
        ],
        "volumes": [store_access.volume(), pods.scratch("tmp", "256Mi")],
    }
