"""Who may break which of the rules, and why. An entry that nothing needs any longer is a fault (test_rules.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Exempt:
    """These parts of a pod may break a rule; `parts` are in the rule's own words."""

    rule: str
    pod: str
    parts: tuple[str, ...]
    why: str

    @property
    def allowed(self) -> set[tuple[str, str, str]]:
        return {(self.rule, self.pod, part) for part in self.parts}


def _probes(*containers: str) -> tuple[str, ...]:
    return tuple(f"{one}: {probe}" for one in containers for probe in ("readinessProbe", "livenessProbe"))


_ALL_POWER: Final = ("driver: privileged", "driver: allowPrivilegeEscalation", "driver: capabilities")

OURS: Final = (
    Exempt(
        rule="probed",
        pod="storage/lab-csi-controller",
        parts=_probes("driver", "csi-provisioner", "csi-resizer", "csi-snapshotter"),
        why="they serve each other alone, over a socket, and end by themselves when they cannot",
    ),
    Exempt(
        rule="probed",
        pod="storage/lab-csi-node",
        parts=_probes("driver"),
        why="the kubelet itself calls it for every volume, over a socket",
    ),
    Exempt(
        rule="probed",
        pod="storage/snapshot-controller",
        parts=_probes("snapshot-controller"),
        why="it serves nobody: it watches the API, and ends when it loses it",
    ),
    *(
        Exempt(
            rule="probed",
            pod=f"accelerators/{plugin}",
            parts=_probes("plugin"),
            why="the kubelet holds a connection to it, and counts its devices as ill when that breaks",
        )
        for plugin in ("nvidia", "simulated")
    ),
    *(
        Exempt(
            rule="probed",
            pod=f"workloads/{app}",
            parts=(f"{app}: readinessProbe",),
            why="nobody sends it requests",
        )
        for app in ("replication", "backup")
    ),
    *(
        Exempt(
            rule=rule, pod=pod, parts=parts, why="a driver of volumes mounts file systems and attaches a loop device"
        )
        for pod in ("storage/lab-csi-controller", "storage/lab-csi-node")
        for rule, parts in (("not_root", ("driver",)), ("powerless", _ALL_POWER))
    ),
    *(
        Exempt(
            rule="not_root",
            pod=f"accelerators/{plugin}",
            parts=(part,),
            why="the folder of the kubelet's sockets is root's alone",
        )
        for plugin, part in (("nvidia", "plugin"), ("simulated", "plugin"), ("simulated-dra", "driver"))
    ),
    Exempt(
        rule="apart",
        pod="storage/lab-csi-controller",
        parts=("/srv/nas",),
        why="the folder that all machines of a lab share, in which the volumes are",
    ),
    Exempt(
        rule="apart",
        pod="storage/lab-csi-node",
        parts=(
            "/srv/nas",
            "/var/lib/kubelet/plugins/lab.csi.isthmus.dev",
            "/var/lib/kubelet/plugins_registry",
            "/var/lib/kubelet/pods",
        ),
        why="it tells the kubelet where its socket is, and mounts volumes where the kubelet's pods see them",
    ),
    *(
        Exempt(
            rule="apart",
            pod=f"kube-system/{server}",
            parts=("hostNetwork",),
            why="the API server beside it asks it over the host's loopback, where nobody else is heard",
        )
        for server in ("metrics-server", "prometheus-adapter")
    ),
    Exempt(
        rule="apart",
        pod="monitoring-hosts/node-exporter",
        parts=("hostNetwork", "/", "/proc", "/sys"),
        why="it tells what its host does, and reads that alone",
    ),
    Exempt(
        rule="apart",
        pod="accelerators/nvidia",
        parts=("/var/lib/kubelet/device-plugins",),
        why="it registers with the kubelet by a socket there",
    ),
    Exempt(
        rule="apart",
        pod="accelerators/simulated",
        parts=("/var/lib/kubelet/device-plugins", "/tmp"),
        why="it registers with the kubelet by a socket there; its devices are files that it makes in the host's /tmp",
    ),
    Exempt(
        rule="apart",
        pod="accelerators/simulated-dra",
        parts=("/var/lib/kubelet/plugins", "/var/lib/kubelet/plugins_registry", "/etc/cdi"),
        why="its sockets are there, and what the container runtime is to do for a device",
    ),
)
"""Pods that the program itself describes."""

_AGENTS: Final = ("cilium-agent", "clean-cilium-state", "config", "install-cni-binaries", "mount-bpf-fs")

CILIUM: Final = (
    Exempt(
        rule="bounded",
        pod="kube-system/cilium-agent",
        parts=(
            "cilium-agent: limits of cpu",
            "cilium-agent: limits of memory",
            *(
                f"{one}: {bound} of {what}"
                for one in ("clean-cilium-state", "config", "mount-bpf-fs")
                for bound in ("requests", "limits")
                for what in ("cpu", "memory")
            ),
        ),
        why="the kernel's maps count as the agent's memory, and grow with the host; the others end within seconds",
    ),
    Exempt(
        rule="bounded",
        pod="kube-system/cilium-operator",
        parts=("cilium-operator: limits of cpu",),
        why="it is idle but for bursts when nodes come, and is promised a hundredth of a core",
    ),
    Exempt(
        rule="not_root",
        pod="kube-system/cilium-agent",
        parts=(*_AGENTS, "make-base-devices"),
        why="they load programs into the kernel, make devices, and put files where the container runtime's are",
    ),
    Exempt(
        rule="powerless",
        pod="kube-system/cilium-agent",
        parts=(
            "mount-bpf-fs: privileged",
            *(f"{one}: {what}" for one in _AGENTS for what in ("allowPrivilegeEscalation", "seccompProfile")),
            *(f"{one}: capabilities" for one in _AGENTS if one != "install-cni-binaries"),
            "make-base-devices: capabilities",
        ),
        why="the agent has the capabilities that cilium_values.py lists, and is not privileged; only a privileged "
        "container can mount the kernel's bpf file system where the host sees it",
    ),
    Exempt(
        rule="read_only",
        pod="kube-system/cilium-agent",
        parts=_AGENTS,
        why="the chart has no value for it",
    ),
    Exempt(
        rule="apart",
        pod="kube-system/cilium-agent",
        parts=(
            "hostNetwork",
            "cilium-agent: hostPort",
            *("/etc/cni/net.d", "/lib/modules", "/opt/cni/bin", "/proc/sys/kernel", "/proc/sys/net"),
            *("/run/xtables.lock", "/sys/fs/bpf", "/sys/fs/cgroup", "/var/run/cilium", "/var/run/netns"),
        ),
        why="it is the host's network",
    ),
    Exempt(
        rule="not_root",
        pod="kube-system/cilium-operator",
        parts=("cilium-operator",),
        why="its image names no user; it has no capabilities",
    ),
    Exempt(
        rule="read_only",
        pod="kube-system/cilium-operator",
        parts=("cilium-operator",),
        why="it puts a socket for diagnostics into its image's /tmp",
    ),
    Exempt(
        rule="apart",
        pod="kube-system/cilium-operator",
        parts=("hostNetwork", "cilium-operator: hostPort"),
        why="it runs before there is a pod network",
    ),
    Exempt(
        rule="probed",
        pod="kube-system/clustermesh-apiserver",
        parts=("etcd: readinessProbe", *(f"{one}: livenessProbe" for one in ("etcd", "apiserver"))),
        why="the API server asks etcd all the time and is not ready without it; the chart has no value for the others",
    ),
    Exempt(
        rule="noticed",
        pod="kube-system/clustermesh-apiserver",
        parts=("apiserver",),
        why="the chart has no value for it, and nothing waits for the other site",
    ),
)
"""Pods of upstream's chart."""
