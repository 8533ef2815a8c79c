"""Cilium's settings, as values of its chart: what differs from the chart's defaults, and why."""

from __future__ import annotations

import json
from typing import Any, Final

from infra import naming
from infra.environment_checks import NODE_PREFIX
from infra.platform.cluster import Cluster

AGENT_CAPABILITIES: Final = (
    # What the agent works with instead of being privileged. Two of the chart's own are left out: SYS_MODULE (the nodes'
    # features are built in) and SYS_RESOURCE (a lab machine cannot give what its host does not have).
    *("CHOWN", "KILL", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "SYS_ADMIN"),
    *("DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID", "SYSLOG"),
)

EKS_CAPABILITIES: Final = ("SYS_MODULE", "SYS_RESOURCE")
"""The two, on nodes of Amazon's: their kernel has as modules what others have built in, and they are whole machines."""

LINK_MTU: Final = 1400
"""Largest packet that passes the link, bytes; as role site_link has it."""

BASE_DEVICES: Final = {
    "cilium_host": "veth peer name cilium_net",
    "cilium_vxlan": "vxlan external dstport 8472",
}
"""What agents make on a host of their own, as `ip link` makes the same; of another port they make it anew."""

POD_STARTS: Final = "endpoint-create=auto-adjust:false,rate-limit:10/s,rate-burst:10"
"""How often pods of a host may be given their network, four at a time. By default one in the time that they take on
average: on a new host, whose first ones wait for a compiler, one in some ten seconds, long after it has ended."""

PROBES: Final = {"etcd.keepaliveHeartbeat": "10s", "etcd.keepaliveTimeout": "10s"}
"""How often an agent probes its connection to the other site's mesh, and how long it waits for an answer. Losing one of
the link's tunnels costs 5.4 s."""

OPERATOR_ELECTION: Final = {"lease-duration": "60s", "renew-deadline": "45s", "retry-period": "15s"}
"""The operator is not in the path of any packet: a minute without one harms nothing, asking rarely costs nothing."""


def values(
    cluster: Cluster, api_host: str, *, agent_image: str, operator_image: str, mesh: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The chart's values for a cluster, whose API agents reach at `api_host`. `mesh`: what mesh_values says."""
    return {
        "cluster": {"name": cluster.name, "id": cluster.id},
        # Agents start before Services work, so they reach the API by an address that is none of those.
        "k8sServiceHost": api_host,
        "k8sServicePort": cluster.api_port,
        **_datapath(cluster.cgroup_root, linked=cluster.linked),
        # With the default, True, 1.19 lets in every pod of the policy's own namespace beside an ipBlock of senders.
        # Where clusters are meshed, a policy must then name the cluster that it means (policies.of_cluster).
        "clustermesh": {"policyDefaultLocalCluster": False, **(mesh or {})},
        **(_through_the_link() if cluster.mesh else {}),
        "ipam": _ipam(cluster),
        **(_beside_tunnels() if cluster.linked else {}),
        # Amazon's own balancers are what Services of that type get.
        **({"defaultLBServiceIPAM": "none"} if cluster.eks else {}),
        **_told(),
        **_left_out(),
        "apiRateLimit": POD_STARTS,
        "image": {"override": agent_image, "pullPolicy": "IfNotPresent"},
        "extraInitContainers": [_base_devices(agent_image)],
        # A changed setting reaches pods only when they start anew.
        "rollOutCiliumPods": True,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "securityContext": {
            "privileged": False,
            "capabilities": {
                "ciliumAgent": [*AGENT_CAPABILITIES, *(EKS_CAPABILITIES if cluster.eks else ())],
                "cleanCiliumState": ["NET_ADMIN", "SYS_ADMIN"],
            },
        },
        # No limit: the kernel's maps count as the agent's memory, and grow with the memory of the host.
        "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}},
        "cni": {
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
            "iptablesRemoveAWSRules": False,
        },
        "operator": _operator(operator_image, replicas=min(2, len(cluster.workers))),
    }


def _datapath(cgroup_root: str, *, linked: bool) -> dict[str, Any]:
    return {
        # An overlay asks nothing of the site's network. GENEVE is not in every kernel; VXLAN is.
        "routingMode": "tunnel",
        "tunnelProtocol": "vxlan",
        "ipv6": {"enabled": False},
        "kubeProxyReplacement": "true",
        # What pods send into the link's devices, which are not Cilium's, gets the host's address from a rule of the
        # hosts (role site_link). Cilium's shorter way from pod to device is one around all such rules.
        "bpf": {"masquerade": True, "hostLegacyRouting": linked},
        # The hosts mount cgroup v2 themselves; the chart's own mount needs a privileged helper.
        "cgroup": {"autoMount": {"enabled": False}, "hostRoot": cgroup_root},
        # It rewrites the hosts' sysctls. On-prem the hosts belong to Ansible (role node_prerequisites); Amazon's nodes
        # have the same settings from their first start (cloud/user_data.py).
        "sysctlfix": {"enabled": False},
        # Lets a policy's ipBlock mean nodes too: the ingress' load balancers run on them.
        "policyCIDRMatchMode": ["nodes"],
    }


def _ipam(cluster: Cluster) -> dict[str, Any]:
    """Who divides the pods' range among nodes: Kubernetes, or, where Amazon runs it and does not, Cilium itself."""
    if not cluster.eks:
        return {"mode": "kubernetes"}
    pool = {"clusterPoolIPv4PodCIDRList": [str(cluster.pod_cidr)], "clusterPoolIPv4MaskSize": NODE_PREFIX}
    return {"mode": "cluster-pool", "operator": pool}


def _beside_tunnels() -> dict[str, Any]:
    """The link's devices come and go; were they Cilium's, it would rebuild its datapath each time."""
    return {"devices": ["!ipsec+"], "forceDeviceDetection": True}


def _through_the_link() -> dict[str, Any]:
    """What agents of meshed clusters do otherwise: their packets to the other site's pods take the link's tunnels."""
    return {
        # Cilium takes 50 off for its own headers; and has one size for all pods, also for what stays within the site.
        "MTU": LINK_MTU,
        "extraConfig": {
            # So long an agent that starts waits for the other site before it goes on without. A cut link must not hold
            # up this site's pods; those that run are served meanwhile.
            "clustermesh-sync-timeout": "10s",
            # When who tells an agent of the other site is lost with its host, nothing ends the connection: it is
            # probed, and another one made to whoever is left. By default that takes 40 s.
            "kvstore-opt": json.dumps(PROBES),
        },
    }


def _base_devices(agent_image: str) -> dict[str, Any]:
    """Makes the agent's own devices before it starts, which it takes over.

    Where they are missing, 1.19 cannot hash its node's settings and does not say so: what it compiles for the first
    time is thrown away as soon as there is a hash, and each new node compiles and loads its BPF programs twice.
    """
    made = "; ".join(f"ip link show {name} || ip link add {name} type {kind}" for name, kind in BASE_DEVICES.items())
    return {
        "name": "make-base-devices",
        "image": agent_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-ec", made],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _told() -> dict[str, Any]:
    """What agents tell Prometheus: of themselves, and by Hubble of flows. Its own server nobody asks, so it is off."""
    namespaces = "labelsContext=source_namespace,destination_namespace"
    return {
        "prometheus": {"enabled": True, "port": naming.CILIUM_METRICS_PORT},
        "hubble": {
            "enabled": True,
            "listenAddress": None,
            "tls": {"enabled": False},
            "metrics": {"enabled": [f"drop:{namespaces}", f"flow:{namespaces}"], "port": naming.HUBBLE_METRICS_PORT},
        },
    }


def _left_out() -> dict[str, Any]:
    """Parts that nothing here uses."""
    return {
        "envoy": {"enabled": False},
        "l7Proxy": False,
        # Every node would probe every other, all the time; the kubelets' and the load balancers' checks find faults.
        "healthChecking": False,
        "endpointHealthChecking": {"enabled": False},
        # The operator would copy secrets for L7 rules, which there are none of.
        "tls": {"secretSync": {"enabled": False}},
    }


def _operator(image: str, *, replicas: int) -> dict[str, Any]:
    return {
        "replicas": replicas,
        "image": {"override": image, "pullPolicy": "IfNotPresent"},
        "rollOutPods": True,
        "prometheus": {"enabled": False},
        # It restarts pods that started before Cilium; here none does.
        "unmanagedPodWatcher": {"restart": False},
        "extraArgs": [f"--leader-election-{setting}={time}" for setting, time in OPERATOR_ELECTION.items()],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }
