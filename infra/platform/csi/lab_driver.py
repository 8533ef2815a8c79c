"""The lab's driver (mirror/images/lab-csi): one pod that makes volumes, with upstream's controllers beside it, and one
on each host that shows them to pods.

The driver's containers are root and privileged, as those of any driver: they mount. They listen on sockets alone.
"""

from __future__ import annotations

from typing import Any, Final

import pulumi
from pulumi_kubernetes import apps, core, storage

from infra import quantities
from infra.artifacts import Index
from infra.environment import LabStorage
from infra.naming import LAB_NAS, LAB_POOL
from infra.naming import STORAGE_NAMESPACE as NAMESPACE
from infra.platform import pods, priorities
from infra.platform.cluster import Cluster
from infra.platform.csi import access
from infra.platform.csi.classes import LAB_DRIVER
from infra.platform.csi.snapshots import GROUP

CONTROLLER: Final = "lab-csi-controller"
NODE: Final = "lab-csi-node"
KUBELET: Final = "/var/lib/kubelet"
PLUGIN: Final = f"{KUBELET}/plugins/{LAB_DRIVER}"
SOCKET: Final = "/csi/csi.sock"

SIDECARS: Final = {
    # Each acts when it is told of a change, and looks at everything each 5 to 15 minutes. None elects a leader: there
    # is one pod. None is probed: each ends by itself when it loses the driver, and a probe would be most of its work.
    "csi-provisioner": ["--worker-threads=4"],
    # The driver expands volumes in use, so pods need not be watched.
    "csi-resizer": ["--workers=2", "--handle-volume-inuse-error=false"],
    "csi-snapshotter": ["--worker-threads=2"],
}


class LabDriver(pulumi.ComponentResource):
    """`running` are the resources that are awaited until volumes can be made and shown."""

    running: list[pulumi.Resource]

    def __init__(
        self, name: str, *, cluster: Cluster, settings: LabStorage, index: Index, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("isthmus:platform:LabDriver", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        storage.v1.CSIDriver(
            LAB_DRIVER,
            metadata=pods.metadata("lab-csi", name=LAB_DRIVER),
            spec={
                # Nothing is attached, so nothing waits for a lost host to let go of a volume: a pod of it starts
                # elsewhere as soon as Kubernetes gives the host up. It also means that ReadWriteOnce is the
                # scheduler's and the claim's matter, as with any network file system.
                "attach_required": False,
                "pod_info_on_mount": False,
                "fs_group_policy": "File",
                "storage_capacity": False,
                "volume_lifecycle_modes": ["Persistent"],
            },
            opts=child,
        )
        may = access.controller(CONTROLLER, _RULES, cluster=cluster, opts=child)
        driver = _Driver(image=pods.image(index.artifact("lab-csi")), capacity=int(quantities.parse(settings.capacity)))
        sidecars = [_sidecar(one, arguments, index) for one, arguments in SIDECARS.items()]
        controller = apps.v1.Deployment(
            CONTROLLER,
            metadata=pods.metadata(CONTROLLER, namespace=NAMESPACE),
            spec={
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"match_labels": pods.selector(CONTROLLER)},
                "template": {
                    "metadata": {"labels": pods.selector(CONTROLLER)},
                    "spec": driver.controller(sidecars),
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=may),
        )
        node = apps.v1.DaemonSet(
            NODE,
            metadata=pods.metadata(NODE, namespace=NAMESPACE),
            spec={
                "selector": {"match_labels": pods.selector(NODE)},
                "update_strategy": {"rolling_update": {"max_unavailable": "100%"}},
                "template": {"metadata": {"labels": pods.selector(NODE)}, "spec": driver.node()},
            },
            opts=child,
        )
        self.running = [controller, node]
        self.register_outputs({})


class _Driver:
    """The two kinds of pods that run the driver's image."""

    def __init__(self, *, image: str, capacity: int) -> None:
        self.image, self.capacity = image, capacity

    def controller(self, sidecars: list[core.v1.ContainerArgsDict]) -> core.v1.PodSpecArgsDict:
        """The part that makes volumes; the sidecars ask it over a socket that both groups may use."""
        return {
            "service_account_name": CONTROLLER,
            "enable_service_links": False,
            "priority_class_name": priorities.STORAGE,
            "security_context": {"fs_group": pods.USER, "seccomp_profile": {"type": "RuntimeDefault"}},
            "containers": [self._container(["--controller"], []), *sidecars],
            "volumes": [{"name": "socket", "empty_dir": {"size_limit": "1Mi"}}, *_POOL],
        }

    def node(self) -> core.v1.PodSpecArgsDict:
        """The part that shows volumes to the pods of its host, and tells the kubelet that it is there."""
        arguments = ["--node=$(NODE)", "--registry=/registry", f"--endpoint={PLUGIN}/csi.sock"]
        container = self._container(
            arguments,
            [
                {"name": "registry", "mount_path": "/registry"},
                # Under the host's own path, and what is mounted there reaches the host.
                {"name": "pods", "mount_path": f"{KUBELET}/pods", "mount_propagation": "Bidirectional"},
            ],
        )
        container["env"] = [{"name": "NODE", "value_from": {"field_ref": {"field_path": "spec.nodeName"}}}]
        return {
            "automount_service_account_token": False,
            "enable_service_links": False,
            # A host without it runs no pod that has a volume.
            "priority_class_name": "system-node-critical",
            "tolerations": [{"operator": "Exists"}],
            "security_context": {"seccomp_profile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [
                pods.host_folder("socket", PLUGIN, "DirectoryOrCreate"),
                pods.host_folder("registry", f"{KUBELET}/plugins_registry"),
                pods.host_folder("pods", f"{KUBELET}/pods"),
                *_POOL,
            ],
        }

    def _container(self, arguments: list[str], mounts: list[core.v1.VolumeMountArgsDict]) -> core.v1.ContainerArgsDict:
        """Not probed: the kubelet itself calls it for every volume and starts it again when it ends."""
        return {
            "name": "driver",
            "image": self.image,
            "args": [
                f"--folder={LAB_NAS}",
                f"--capacity={self.capacity}",
                f"--socket={SOCKET}",
                f"--mount={LAB_POOL}",
                *arguments,
            ],
            "resources": {
                "requests": {"cpu": "5m", "memory": "48Mi"},
                "limits": {"cpu": "500m", "memory": "192Mi"},
            },
            # It mounts file systems and attaches a loop device.
            "security_context": {"privileged": True, "run_as_user": 0, "read_only_root_filesystem": True},
            "volume_mounts": [
                {"name": "socket", "mount_path": "/csi"},
                {"name": "pool", "mount_path": "/pool"},
                {"name": "nas", "mount_path": LAB_NAS},
                *mounts,
            ],
        }


_POOL: Final[tuple[Any, ...]] = (
    {"name": "pool", "empty_dir": {"size_limit": "1Mi"}},
    # Directory: on a host that does not see the shared folder the pod does not start, instead of making one there.
    pods.host_folder("nas", LAB_NAS),
)


def _sidecar(name: str, arguments: list[str], index: Index) -> core.v1.ContainerArgsDict:
    """One of upstream's controllers: it watches the API, and asks the driver when there is something to do."""
    return {
        "name": name,
        "image": pods.image(index.artifact(name)),
        "args": [f"--csi-address={SOCKET}", "--leader-election=false", "--timeout=60s", *arguments],
        "resources": {
            "requests": {"cpu": "5m", "memory": "32Mi"},
            "limits": {"cpu": "200m", "memory": "128Mi"},
        },
        "security_context": {
            **pods.locked(),
            "run_as_user": pods.USER,
            "run_as_group": pods.USER,
            "run_as_non_root": True,
        },
        "volume_mounts": [{"name": "socket", "mount_path": "/csi"}],
    }


_RULES: Final = (
    # the provisioner
    access.rule("", ["persistentvolumes"], *access.READ, "create", "patch", "delete"),
    access.rule("", ["persistentvolumeclaims"], *access.READ, "update"),
    access.rule("", ["nodes"], *access.READ),
    access.rule("storage.k8s.io", ["storageclasses", "csinodes", "volumeattachments"], *access.READ),
    access.rule(GROUP, ["volumesnapshots"], *access.READ, "update"),
    # the resizer
    access.rule("", ["persistentvolumeclaims/status"], "patch"),
    access.rule("storage.k8s.io", ["volumeattributesclasses"], *access.READ),
    # the snapshotter
    access.rule(GROUP, ["volumesnapshotclasses"], *access.READ),
    access.rule(GROUP, ["volumesnapshotcontents"], *access.READ, "update", "patch"),
    access.rule(GROUP, ["volumesnapshotcontents/status"], "update", "patch"),
    access.EVENTS,
)
