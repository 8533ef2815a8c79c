"""metrics-server: what each pod and host uses now, for autoscaling and `kubectl top`; it keeps no history.

On EKS it is an add-on (infra/cloud/addons.py); everywhere else, the lab's cloud site too, this is it, beside each API
server (aggregation.py).

While one restarts, autoscalers that ask its API server keep the number of replicas that they have; nothing that serves
asks for it.
"""

from __future__ import annotations

from typing import Final

import pulumi

from infra.artifacts import Index
from infra.platform import aggregation
from infra.platform.cluster import Cluster

APP: Final = "metrics-server"
PORT: Final = 4443

RESOLUTION_S: Final = 30
"""Between two readings of every kubelet, each of which makes the kubelet look at all of its containers: half of the
usual rate is half of its price, and an autoscaler still sees a load within a minute."""

SERVER: Final = aggregation.Server(
    app=APP,
    group="metrics.k8s.io",
    version="v1beta1",
    port=PORT,
    reads=[
        {"api_groups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"api_groups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
    ],
    readers="isthmus:metrics-reader",
    answers={"api_groups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
    args=[
        # It is ready once it has read the kubelets.
        f"--metric-resolution={RESOLUTION_S}s",
        "--kubelet-preferred-address-types=InternalIP",
        # kubeadm's kubelets sign their serving certificates themselves, so there is no authority to hold them to;
        # kubeadm's API servers do not verify them either. What it takes to is in docs/limits.md.
        "--kubelet-insecure-tls",
    ],
)


class MetricsServer(pulumi.ComponentResource):
    """It is done once the API servers answer for metrics.k8s.io."""

    def __init__(
        self, name: str, *, cluster: Cluster, index: Index, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("isthmus:platform:MetricsServer", name, None, opts)
        aggregation.serve(SERVER, cluster=cluster, index=index, parent=self)
        self.register_outputs({})
