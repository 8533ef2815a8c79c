"""EKS add-ons at pinned versions: names, volumes, pod identities and metrics. The network is not among them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pulumi
from pulumi_aws import eks

from infra.environment import Cloud

BEFORE_NODES = ("eks-pod-identity-agent",)
"""Add-ons that run on every node and so need none to become active."""


class Addons(pulumi.ComponentResource):
    """Each add-on; those that wait for pods come after `nodes`, which need be no more than run those pods."""

    def __init__(
        self,
        name: str,
        *,
        cloud: Cloud,
        cluster: pulumi.Input[str],
        nodes: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("isthmus:cloud:Addons", name, None, opts)
        for key, version in cloud.addons.versions().items():
            settings = cloud.addons.configuration.get(key)
            addon = key.replace("_", "-")
            waits = [] if addon in BEFORE_NODES else list(nodes)
            eks.Addon(
                addon,
                addon_name=addon,
                addon_version=version,
                cluster_name=cluster,
                configuration_values=json.dumps(settings, sort_keys=True) if settings else None,
                # What is described here holds, whoever changed it in the cluster.
                resolve_conflicts_on_create="OVERWRITE",
                resolve_conflicts_on_update="OVERWRITE",
                opts=pulumi.ResourceOptions(parent=self, depends_on=waits),
            )
        self.register_outputs({})
