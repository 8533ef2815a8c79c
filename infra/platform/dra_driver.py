"""A driver for dynamic resource allocation (DRA): it tells the API of a host's devices one by one, the scheduler itself
picks one for a pod, and the driver hands that one over.

In a lab, upstream's example driver, whose devices are names in a container's environment. Pods ask for them by the name
of an extended resource all the same: its DeviceClass gives them one, and Kubernetes makes the claim.
"""

from __future__ import annotations

from typing import Any, Final

import pulumi
from pulumi_kubernetes import resource

from infra.accelerators import SIMULATED_DEVICES, SIMULATED_DRA
from infra.platform import accounts, pods, policies
from infra.platform.cluster import Cluster

DRIVER: Final = "gpu.example.com"
"""The driver's own name, of which its socket's folder and its devices' class have theirs."""

KUBELET: Final = "/var/lib/kubelet"

SPECS: Final = "/etc/cdi"
"""Where the container runtime reads what a device brings into a container (CDI). Not /run/cdi, which a reboot empties:
the driver counts on what it wrote there for as long as a pod has its device."""

HEALTH_PORT: Final = 8080

_GROUP: Final = "resource.k8s.io"

# The driver tells of its own host's devices alone; Kubernetes has no right as narrow as that.
_RULES: Final[tuple[accounts.Rule, ...]] = (
    {
        "api_groups": [_GROUP],
        "resources": ["resourceslices"],
        "verbs": ["get", "list", "watch", "create", "update", "patch", "delete"],
    },
    {"api_groups": [_GROUP], "resources": ["resourceclaims"], "verbs": ["get"]},
    {"api_groups": [""], "resources": ["nodes"], "verbs": ["get"]},
)


def device_class(opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """The driver's devices, wherever they are, under the name by which pods ask for them."""
    return resource.v1.DeviceClass(
        DRIVER,
        metadata=pods.metadata(DRIVER),
        spec={
            "selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}],
            "extended_resource_name": SIMULATED_DRA,
        },
        opts=opts,
    )


def granted(app: str, namespace: str, *, cluster: Cluster, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """What the driver may do, and whom it reaches: the API alone."""
    return [
        *accounts.allowed(app, namespace, _RULES, opts),
        policies.allow(app, namespace, ingress=[], egress=[policies.to_api(cluster)], opts=opts),
    ]


def pod(app: str, image: str) -> dict[str, Any]:
    """The driver on a host. It is well when both its sockets answer: one is how the kubelet comes to know it."""
    health = {"grpc": {"port": HEALTH_PORT, "service": "liveness"}, "timeout_seconds": 3}
    return {
        "service_account_name": app,
        "automount_service_account_token": True,
        "containers": [
            {
                "name": "driver",
                "image": image,
                "command": ["dra-example-kubeletplugin"],
                "args": [
                    f"--driver-name={DRIVER}",
                    f"--num-devices={SIMULATED_DEVICES}",
                    f"--cdi-root={SPECS}",
                    f"--healthcheck-port={HEALTH_PORT}",
                ],
                # The pod's UID is in its sockets' names, so that an old and a new driver may be there at once.
                "env": [
                    {"name": name, "value_from": {"field_ref": {"field_path": path}}}
                    for name, path in (("NODE_NAME", "spec.nodeName"), ("POD_UID", "metadata.uid"))
                ],
                "resources": {
                    "requests": {"cpu": "5m", "memory": "24Mi"},
                    "limits": {"cpu": "200m", "memory": "96Mi"},
                },
                "security_context": pods.locked(),
                "startup_probe": {**health, "period_seconds": 1, "failure_threshold": 60},
                # Seldom, for it writes down that it was asked.
                "readiness_probe": {**health, "period_seconds": 30, "failure_threshold": 2},
                "liveness_probe": {**health, "period_seconds": 60, "failure_threshold": 3},
                "volume_mounts": [
                    {"name": "plugins", "mount_path": f"{KUBELET}/plugins"},
                    {"name": "registry", "mount_path": f"{KUBELET}/plugins_registry"},
                    {"name": "specs", "mount_path": SPECS},
                ],
            }
        ],
        "volumes": [
            pods.host_folder("plugins", f"{KUBELET}/plugins"),
            pods.host_folder("registry", f"{KUBELET}/plugins_registry"),
            pods.host_folder("specs", SPECS, "DirectoryOrCreate"),
        ],
    }
