"""The node exporter on every host, whatever keeps other pods away from it: processors, memory, disks, network, clock.

It sees the host because it shares the host's network and reads its files, as nobody in particular: neither root nor
with any capability. Policies of pods do not hold for the host's network: whoever reaches a host reads its numbers.
Where our roles set hosts up, it tells too what services of the host leave for it in a folder.
"""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_kubernetes import apps, core

from infra.artifacts import Index
from infra.naming import METRICS_PATH
from infra.platform import namespaces, pods, priorities
from infra.platform.monitoring.names import HOSTS_NAMESPACE, NODE_EXPORTER, NODE_EXPORTER_PORT

APP: Final = NODE_EXPORTER

COLLECTORS: Final = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "time", "uname")

HOST: Final = "/host"

_OPTIONS: Final = (
    "--web.disable-exporter-metrics",
    f"--path.procfs={HOST}/proc",
    f"--path.sysfs={HOST}/sys",
    f"--path.rootfs={HOST}/root",
    # Disks, not what pods mount of them.
    "--collector.filesystem.fs-types-include=^(ext[234]|xfs|btrfs|zfs)$",
    "--collector.filesystem.mount-points-exclude=^/(dev|proc|sys|run|var/lib/(kubelet|containerd)/.+)($|/)",
    # Devices that come and go with pods are many, and each pod's traffic is told by its kubelet.
    "--collector.netdev.device-exclude=^(lo|lxc.*|veth.*|cilium_.*)$",
)

_OF_SERVICES: Final = ("--collector.textfile", f"--collector.textfile.directory={HOST}/root{METRICS_PATH}")
"""What services of the host leave there. Not on hosts without the folder: it would complain at each question."""


class NodeExporter(pulumi.ComponentResource):
    """Its namespace, where nothing else is, and its DaemonSet."""

    def __init__(self, name: str, *, index: Index, own_hosts: bool, opts: pulumi.ResourceOptions) -> None:
        """`own_hosts`: whether our roles set the hosts up, so that services of theirs have something to tell."""
        super().__init__("isthmus:platform:NodeExporter", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = namespaces.trusted(HOSTS_NAMESPACE, opts=child)
        apps.v1.DaemonSet(
            APP,
            metadata=pods.metadata(APP, namespace=HOSTS_NAMESPACE),
            spec={
                "selector": {"match_labels": pods.selector(APP)},
                "template": {"metadata": {"labels": pods.selector(APP)}, "spec": _pod(index, own_hosts)},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace]),
        )
        self.register_outputs({})


def _pod(index: Index, own_hosts: bool) -> core.v1.PodSpecArgsDict:
    return {
        "priority_class_name": priorities.MONITORING,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "host_network": True,
        "dns_policy": "Default",
        "security_context": pods.unprivileged(),
        "tolerations": [{"operator": "Exists"}],
        "containers": [_container(index, own_hosts)],
        "volumes": [
            {"name": "proc", "host_path": {"path": "/proc"}},
            {"name": "sys", "host_path": {"path": "/sys"}},
            {"name": "root", "host_path": {"path": "/"}},
        ],
    }


def _container(index: Index, own_hosts: bool) -> core.v1.ContainerArgsDict:
    return {
        "name": APP,
        "image": pods.image(index.artifact(APP)),
        "env": [{"name": "HOST_IP", "value_from": {"field_ref": {"field_path": "status.hostIP"}}}],
        "args": [
            # The host's own address alone, none of those that float.
            f"--web.listen-address=$(HOST_IP):{NODE_EXPORTER_PORT}",
            "--collector.disable-defaults",
            *(f"--collector.{collector}" for collector in COLLECTORS),
            *_OPTIONS,
            *(_OF_SERVICES if own_hosts else ()),
        ],
        "ports": [{"name": "http", "container_port": NODE_EXPORTER_PORT}],
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}},
        "security_context": pods.locked(),
        "volume_mounts": [
            {"name": "proc", "mount_path": f"{HOST}/proc", "read_only": True},
            {"name": "sys", "mount_path": f"{HOST}/sys", "read_only": True},
            # What is mounted later is seen too.
            {
                "name": "root",
                "mount_path": f"{HOST}/root",
                "read_only": True,
                "mount_propagation": "HostToContainer",
            },
        ],
        "startup_probe": pods.probe("/", "http", period=2, failures=30),
        "readiness_probe": pods.probe("/", "http", period=20, failures=3),
        "liveness_probe": pods.probe("/", "http", period=60, failures=3),
        "termination_message_policy": "FallbackToLogsOnError",
    }
