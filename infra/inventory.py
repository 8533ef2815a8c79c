"""What Ansible is told: the inventory and the play variables that follow from an environment; pure functions.

The roles depend on these names and shapes; ansible/preflight.yml asserts them on the other side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any, get_args

from infra import addressing, naming
from infra.artifacts import Artifact, Index, file_url
from infra.environment import Host, Onprem, Role

CONTROL_PLANE_TAINT = "node-role.kubernetes.io/control-plane:NoSchedule"


def inventory(onprem: Onprem, host_keys: Mapping[str, Any], nvidia_hosts: Sequence[str] = ()) -> dict[str, Any]:
    """The inventory in Ansible's own structure; every group exists, even when it is empty.

    `host_keys`: host name -> ssh host key, which may still be an Output: only that value is then unknown in a preview.
    `nvidia_hosts`: the group nvidia, of which role `nvidia` takes care.
    """
    groups: dict[str, Any] = {
        role: {"hosts": {host.name: {} for host in onprem.having(role)}} for role in get_args(Role)
    }
    groups["nvidia"] = {"hosts": {name: {} for name in nvidia_hosts}}
    hosts = {host.name: _host(host, onprem, host_keys[host.name]) for host in onprem.hosts}
    return {"all": {"hosts": hosts, "children": groups}}


def connection(address: IPv4Address, site: Onprem, host_key: Any) -> dict[str, Any]:
    """How Ansible reaches a host of the site."""
    return {
        "ansible_host": str(address),
        "ansible_port": site.ssh.port,
        "ansible_user": site.ssh.user,
        "host_key": host_key,
    }


def _host(host: Host, onprem: Onprem, host_key: Any) -> dict[str, Any]:
    taints = list(host.taints)
    if "control_plane" in host.roles and "worker" not in host.roles:
        taints.append(CONTROL_PLANE_TAINT)
    return {
        **connection(host.address, onprem, host_key),
        "node_labels": dict(host.labels),
        "node_taints": taints,
    }


def variables(
    name: str,
    site: Onprem,
    kubernetes_version: str,
    index: Index,
    tcp_services: Sequence[naming.TcpService] = (),
    *,
    linked: bool = False,
    peer: IPv4Network | None = None,
    backup_store: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The play variables of the site of that name; ansible/site.yml hands each to the role that it belongs to.

    `tcp_services`: what the ingress address serves beside the workloads; `linked`: whether tunnels follow the API's.
    `peer`: where the other site's hosts are, if there is one. `backup_store`: where control planes send backups, if
    anywhere; its certificate is still an Output.
    """
    network = site.network
    mirror = addressing.mirror_url(network)
    files = {file: index.artifact(file) for file in naming.NODE_FILES}
    return {
        "site_name": name,
        "cluster_name": site.cluster.name,
        "kubernetes_version": kubernetes_version,
        "api_address": str(network.api_address),
        "api_port": network.api_port,
        "ingress_address": str(network.ingress_address),
        "ingress_port": network.ingress_port,
        "ingress_node_port": naming.INGRESS_NODE_PORT,
        "ingress_check_path": naming.INGRESS_CHECK_PATH,
        "ingress_pods": naming.INGRESS_PODS_NAME,
        "dns_address": str(addressing.dns(network.service_cidr)),
        "tcp_services": [dataclasses.asdict(service) for service in tcp_services],
        "linked": linked,
        "peer_cidr": str(peer or ""),
        "admin_cidrs": [str(cidr) for cidr in network.admin_cidrs],
        "node_cidr": str(network.cidr),
        "pod_cidr": str(network.pod_cidr),
        "service_cidr": str(network.service_cidr),
        "mirror_url": mirror,
        "registries": list(naming.REGISTRIES),
        "files": {key: {"url": file_url(mirror, key, file), "sha256": file.sha256} for key, file in files.items()},
        "images": [index.artifact(image).image for image in naming.KUBEADM_IMAGES],
        "network_images": [by_digest(index.artifact(image)) for image in naming.NETWORK_IMAGES],
        "pod_images": [by_digest(index.artifact(image)) for image in naming.POD_IMAGES],
        "worker_images": [by_digest(index.artifact(image)) for image in naming.WORKER_IMAGES[name]],
        "pause_image": index.artifact("pause").image,
        "data_folders": [naming.OBJECT_STORE_PATH],
        "metrics_folder": naming.METRICS_PATH,
        "backup_store": dict(backup_store or {}),
        "reset_allowed": site.reset_allowed,
    }


def by_digest(artifact: Artifact) -> str:
    """registry/name@digest: where a pod names both tag and digest, containerd drops the tag."""
    name, _, _ = artifact.image.rpartition(":")
    return f"{name}@{artifact.digest}"
