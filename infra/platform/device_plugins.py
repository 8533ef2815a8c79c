"""Device plugins: what tells the kubelet of a host's accelerators, and hands them to pods. A DaemonSet for each entry.

They are the only pods of their namespace, and root: they put a socket where kubelets look for plugins. No probe asks
them, since no port leads to them. The kubelet itself holds a connection to each and counts the devices as unhealthy
when it breaks; a plugin that cannot register ends, and is started again. A driver of dynamic resource allocation is a
plugin too, of another kind (dra_driver.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
import yaml
from pulumi_kubernetes import apps, core, node

from infra.accelerators import IMAGES, NVIDIA, Accelerator
from infra.artifacts import Index
from infra.nodes import Offer
from infra.platform import dra_driver, namespaces, pods
from infra.platform.cluster import Cluster

NAMESPACE: Final = "accelerators"

NVIDIA_RUNTIME: Final = "nvidia"
"""The container runtime's name for pods that use a GPU; role `nvidia` sets it up, and so does Amazon's image."""

SOCKETS: Final = "/var/lib/kubelet/device-plugins"

CONFIG: Final = "config.yaml"


@dataclass(frozen=True, kw_only=True)
class DevicePluginsArgs:
    """`offers`: the accelerators of the site."""

    cluster: Cluster
    offers: tuple[Offer, ...]
    index: Index


class DevicePlugins(pulumi.ComponentResource):
    """The plugins of a site that has accelerators. A host that gets the labels later gets the plugin then."""

    def __init__(self, name: str, args: DevicePluginsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:DevicePlugins", name, None, opts)
        plugins = {offer.accelerator.plugin for offer in args.offers}
        needed: list[pulumi.Resource] = [namespaces.trusted(NAMESPACE, opts=pulumi.ResourceOptions(parent=self))]
        if "nvidia" in plugins:
            needed.append(
                node.v1.RuntimeClass(
                    NVIDIA_RUNTIME,
                    metadata=pods.metadata(NVIDIA_RUNTIME),
                    handler=NVIDIA_RUNTIME,
                    opts=pulumi.ResourceOptions(parent=self),
                )
            )
        if "simulated-dra" in plugins:
            needed.append(dra_driver.device_class(pulumi.ResourceOptions(parent=self)))
        after = pulumi.ResourceOptions(parent=self, depends_on=needed)
        for offer in args.offers:
            accelerator, before = offer.accelerator, needed
            image = pods.image(args.index.artifact(IMAGES[accelerator.plugin]))
            match accelerator.plugin:
                case "nvidia":
                    pod = _nvidia(accelerator, image, after)
                case "simulated":
                    pod = _simulated(image)
                case "simulated-dra":
                    pod = dra_driver.pod(accelerator.name, image)
                    may = dra_driver.granted(accelerator.name, NAMESPACE, cluster=args.cluster, opts=after)
                    before = [*needed, *may]
            _daemon_set(offer, pod, pulumi.ResourceOptions(parent=self, depends_on=before))
        self.register_outputs({})


def _daemon_set(offer: Offer, pod: dict[str, Any], opts: pulumi.ResourceOptions) -> apps.v1.DaemonSet:
    """The plugin on each node that has the accelerator, whatever keeps other pods away from it."""
    app = offer.accelerator.name
    shared: dict[str, Any] = {
        # Without it no pod that needs a device starts on the node.
        "priority_class_name": "system-node-critical",
        "automount_service_account_token": False,
        "enable_service_links": False,
        "node_selector": offer.accelerator.node_selector,
        # The folder of the kubelet's sockets is root's alone.
        "security_context": {"run_as_user": 0, "seccomp_profile": {"type": "RuntimeDefault"}},
    }
    spec: Any = {**shared, **pods.tolerating(offer.taints), **pod}
    return apps.v1.DaemonSet(
        f"device-plugin-{app}",
        metadata=pods.metadata(app, namespace=NAMESPACE),
        spec={
            "selector": {"match_labels": pods.selector(app)},
            "template": {"metadata": {"labels": pods.selector(app)}, "spec": spec},
        },
        opts=opts,
    )


def _simulated(image: str) -> dict[str, Any]:
    """Upstream's sample plugin. Of its settings none is used: it registers by itself, and again after the kubelet."""
    return {
        "containers": [
            {
                "name": "plugin",
                "image": image,
                "resources": {
                    "requests": {"cpu": "5m", "memory": "16Mi"},
                    "limits": {"cpu": "100m", "memory": "64Mi"},
                },
                "security_context": pods.locked(),
                "volume_mounts": [
                    {"name": "sockets", "mount_path": SOCKETS},
                    {"name": "devices", "mount_path": "/tmp"},
                ],
            }
        ],
        "volumes": [
            pods.host_folder("sockets", SOCKETS),
            # Its devices are files that it makes there, and that the container runtime takes from the host's same path.
            pods.host_folder("devices", "/tmp"),
        ],
    }


def _nvidia(accelerator: Accelerator, image: str, opts: pulumi.ResourceOptions) -> dict[str, Any]:
    """NVIDIA's plugin and its configuration, whose name changes with the content, so that a change reaches the pods."""
    text = yaml.safe_dump(nvidia_config(accelerator), sort_keys=False)
    config = core.v1.ConfigMap(
        f"device-plugin-{accelerator.name}",
        metadata=pods.metadata(accelerator.name, name=pods.content_name(accelerator.name, text), namespace=NAMESPACE),
        data={CONFIG: text},
        opts=opts,
    )
    environment = {
        "CONFIG_FILE": f"/config/{CONFIG}",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    }
    # Read-only all the same: NVIDIA's runtime writes the linker's cache, by which the driver is found, before it is so.
    security = pods.locked()
    if accelerator.mig_strategy != "none":
        # Parts are read through /proc/driver/nvidia/capabilities, which the driver opens to administrators alone.
        environment["NVIDIA_MIG_MONITOR_DEVICES"] = "all"
        security = {"read_only_root_filesystem": True, "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}
    return {
        "runtime_class_name": NVIDIA_RUNTIME,
        "containers": [
            {
                "name": "plugin",
                "image": image,
                "env": [{"name": name, "value": value} for name, value in sorted(environment.items())],
                "resources": {
                    "requests": {"cpu": "20m", "memory": "64Mi"},
                    "limits": {"cpu": "500m", "memory": "256Mi"},
                },
                "security_context": security,
                "volume_mounts": [
                    {"name": "sockets", "mount_path": SOCKETS},
                    {"name": "config", "mount_path": "/config", "read_only": True},
                ],
            }
        ],
        "volumes": [
            pods.host_folder("sockets", SOCKETS),
            {"name": "config", "config_map": {"name": config.metadata.name}},
        ],
    }


def nvidia_config(accelerator: Accelerator) -> dict[str, Any]:
    """What NVIDIA's plugin reads at its start (its api/config/v1)."""
    # On a host without a working driver it ends and says why, instead of offering nothing in silence.
    config: dict[str, Any] = {
        "version": "v1",
        "flags": {"migStrategy": accelerator.mig_strategy, "failOnInitError": True},
    }
    if accelerator.time_slicing:
        config["sharing"] = {
            "timeSlicing": {
                # Two slices may be of one device, and are no more than one then: who asks for two is told.
                "failRequestsGreaterThanOne": True,
                "resources": [{"name": NVIDIA, "replicas": accelerator.time_slicing}],
            }
        }
    return config
