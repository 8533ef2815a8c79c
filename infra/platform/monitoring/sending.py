"""How a site's Prometheus sends to the view over both sites: what of it, where to, and what proves who it is.

What is to be sent is in its write-ahead log, whether the view answers or not: after a cut of the link it goes on where
it was, oldest first. The log reaches back about two hours. What had not been sent when Prometheus itself started anew
is not sent later; the site's own Prometheus has it all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core

from infra import naming
from infra.platform import pods, policies
from infra.platform.cluster import VIEW_OFFSET, Cluster
from infra.platform.monitoring.names import NAMESPACE, PROMETHEUS, VIEW, VIEW_NAME, VIEW_PORT

SECRET: Final = f"{PROMETHEUS}-view"
PATH: Final = "/etc/prometheus-view"
PATH_OF_WRITES: Final = "/api/v1/write"

KEPT: Final = "up|ALERTS|isthmus_.+|kube_node_status_condition|(site|node|namespace):.+"
"""By name. What tells how each site is, beside what rules need: whether targets answer, alerts, workloads, nodes, and
what rules have summed up. The rest is asked of the site's own Prometheus."""


@dataclass(frozen=True, kw_only=True)
class ClientKey:
    """What proves a site to the view, and the authority of both; all are PEM."""

    certificate: pulumi.Input[str]
    private_key: pulumi.Input[str]
    authority: pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class Sender:
    """The view as one site's Prometheus reaches it."""

    url: str
    key: ClientKey
    egress: policies.Egress

    def secret(self, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """The key as a Secret beside Prometheus. One that is renewed is read anew, without a start."""
        return core.v1.Secret(
            SECRET,
            metadata=pods.metadata(PROMETHEUS, name=SECRET, namespace=NAMESPACE),
            string_data={
                "tls.crt": self.key.certificate,
                "tls.key": self.key.private_key,
                "ca.crt": self.key.authority,
            },
            opts=opts,
        )

    def volume(self) -> core.v1.VolumeArgsDict:
        """The key, as files."""
        return pods.mounted_secret("view", SECRET, "tls.crt", "tls.key", "ca.crt")

    def mount(self) -> core.v1.VolumeMountArgsDict:
        """Where the key's files are."""
        return {"name": "view", "mount_path": PATH, "read_only": True}


def from_within(key: ClientKey, cluster: Cluster) -> Sender:
    """From the site that the view is on."""
    address = cluster.service_address(VIEW_OFFSET)
    return Sender(
        url=f"https://{address}:{VIEW_PORT}{PATH_OF_WRITES}",
        key=key,
        egress={"to": [policies.app(VIEW)], "ports": policies.ports(VIEW_PORT)},
    )


def from_outside(key: ClientKey, ingress_address: IPv4Address) -> Sender:
    """From the other end of the link, through the ingress address of the site that the view is on."""
    port = naming.VIEW.port
    return Sender(
        url=f"https://{ingress_address}:{port}{PATH_OF_WRITES}",
        key=key,
        egress={"to": [policies.network(IPv4Network(ingress_address))], "ports": policies.ports(port)},
    )


def tls() -> dict[str, str]:
    """Who asks the view, and whom it takes for it."""
    return {
        "ca_file": f"{PATH}/ca.crt",
        "cert_file": f"{PATH}/tls.crt",
        "key_file": f"{PATH}/tls.key",
        "server_name": VIEW_NAME,
    }


def remote_write(url: str) -> dict[str, Any]:
    """The entry of prometheus.yml."""
    return {
        "url": url,
        # A cut link swallows what is sent: who waits long notices late that it is back.
        "remote_timeout": "10s",
        "tls_config": tls(),
        "write_relabel_configs": [{"source_labels": ["__name__"], "regex": KEPT, "action": "keep"}],
        # Some hundred samples a second at most: one connection carries them, a second one helps to catch up.
        "queue_config": {"max_shards": 2, "capacity": 5000, "min_backoff": "1s", "max_backoff": "15s"},
        # What metrics mean is known where they are read.
        "metadata_config": {"send": False},
    }
