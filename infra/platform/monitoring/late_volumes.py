"""What no run waits for on a site whose owners install the driver of its volumes.

They can do so only once there is a cluster, which the same run makes: a run that waited for volumes, or for a Service
of pods that need one, would fail before anybody could open the cluster. Pods start by themselves as soon as the driver
has bound their claims.
"""

from __future__ import annotations

from typing import Any, Final

import pulumi

from infra.platform import pods
from infra.platform.monitoring.names import PROMETHEUS, VIEW

KEEPERS: Final = (PROMETHEUS, VIEW)
"""Apps whose pods have a claim each, see server.claims."""

NOT_AWAITED: Final = {"pulumi.com/skipAwait": "true"}


def not_awaited(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
    """A transformation of all that is in Monitoring: annotates the keepers' StatefulSets and their Services."""
    if args.type_ not in ("kubernetes:apps/v1:StatefulSet", "kubernetes:core/v1:Service"):
        return None
    props: dict[str, Any] = {**args.props}
    selector = props["spec"].get("selector", {})  # of hosts there is none
    # A StatefulSet's labels are one level deeper than a Service's.
    if selector.get("match_labels", selector) not in [pods.selector(app) for app in KEEPERS]:
        return None
    metadata = props["metadata"]
    props["metadata"] = {**metadata, "annotations": {**metadata.get("annotations", {}), **NOT_AWAITED}}
    return pulumi.ResourceTransformationResult(props=props, opts=args.opts)
