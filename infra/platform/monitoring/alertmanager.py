"""Alertmanager: groups alerts, keeps silences, and mutes what follows from a fault that is known.

It tells nobody yet: whom to tell, and with which credentials, is a setting that does not exist. Silences are kept by
replicas for each other; where there is one, they go with its pod.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pulumi
import yaml
from pulumi_kubernetes import apps, core, policy

from infra.artifacts import Index
from infra.platform import pods, policies, priorities
from infra.platform.monitoring.names import ALERTMANAGER, ALERTMANAGER_PORT, GOSSIP_PORT, NAMESPACE, PROMETHEUS

APP: Final = ALERTMANAGER
CONFIG_PATH: Final = "/etc/alertmanager"
DATA_PATH: Final = "/alertmanager"


def config() -> dict[str, Any]:
    """The whole of alertmanager.yml."""
    return {
        "route": {
            "receiver": "nobody",
            "group_by": ["alertname", "cluster"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "4h",
        },
        "receivers": [{"name": "nobody"}],
        "inhibit_rules": [
            # That a host is down says that nothing on it answers.
            _mutes("NodeDown", "TargetDown|LoadBalancerDown", "node"),
            _mutes("LoadBalancerDown", "TargetDown", "node", "job"),
            # Without a model that is served there is no good answer.
            _mutes("NoModelServed", "Inference.+|SitesServeDifferentModels"),
            _mutes("InferenceErrorsBurnFast", "InferenceErrorsBurnSlowly"),
            _mutes("InferenceLatencyBurnsFast", "InferenceLatencyBurnsSlowly"),
            _mutes("ObjectStoreUnavailable", "ObjectStoreDegraded|ModelStoreUnreachable"),
        ],
    }


def _mutes(fault: str, effects: str, *equal: str) -> dict[str, Any]:
    return {
        "source_matchers": [f'alertname="{fault}"'],
        "target_matchers": [f'alertname=~"{effects}"'],
        "equal": ["cluster", *equal],
    }


class Alertmanager(pulumi.ComponentResource):
    """Its replicas, each on a host of its own, that hear of each other's silences. `readers` may ask for alerts too."""

    def __init__(
        self,
        name: str,
        *,
        replicas: int,
        hosts: int,
        index: Index,
        readers: Sequence[policies.Peer] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("isthmus:platform:Alertmanager", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        text = yaml.safe_dump(config(), sort_keys=False)
        configuration = core.v1.ConfigMap(
            APP,
            metadata=pods.metadata(APP, name=pods.content_name(APP, text), namespace=NAMESPACE),
            data={"alertmanager.yml": text},
            opts=child,
        )
        network = _network(replicas, readers, child)
        core.v1.Service(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "cluster_ip": "None",
                # Replicas look for each other before they are ready.
                "publish_not_ready_addresses": True,
                "selector": pods.selector(APP),
                "ports": [{"name": "http", "port": ALERTMANAGER_PORT}],
            },
            opts=child,
        )
        if replicas > 1:
            policy.v1.PodDisruptionBudget(
                APP,
                metadata=pods.metadata(APP, namespace=NAMESPACE),
                spec={"max_unavailable": 1, "selector": {"match_labels": pods.selector(APP)}},
                opts=child,
            )
        pod: core.v1.PodSpecArgsDict = {
            "priority_class_name": priorities.MONITORING,
            "automount_service_account_token": False,
            "enable_service_links": False,
            "security_context": pods.unprivileged(),
            "topology_spread_constraints": pods.apart(APP, replicas=replicas, hosts=hosts),
            "tolerations": pods.leaving_soon(),
            "containers": [_container(index, replicas)],
            "volumes": [
                {"name": "config", "config_map": {"name": configuration.metadata["name"]}},
                pods.scratch("data", "64Mi"),
            ],
        }
        apps.v1.Deployment(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "replicas": replicas,
                "selector": {"match_labels": pods.selector(APP)},
                "template": {"metadata": {"labels": pods.selector(APP)}, "spec": pod},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[network]),
        )
        self.register_outputs({})


def _network(replicas: int, readers: Sequence[policies.Peer], opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Alerts come from Prometheus; replicas talk with each other, and nobody but readers with anybody else."""
    ingress: list[policies.Ingress] = [
        {"from_": [policies.app(PROMETHEUS), *readers], "ports": policies.ports(ALERTMANAGER_PORT)}
    ]
    egress: list[policies.Egress] = []
    if replicas > 1:
        gossip = policies.ports(GOSSIP_PORT) + policies.ports(GOSSIP_PORT, protocol="UDP")
        ingress.append({"from_": [policies.app(APP)], "ports": gossip})
        egress += [{"to": [policies.app(APP)], "ports": gossip}, policies.to_dns()]
    return policies.allow(APP, NAMESPACE, ingress=ingress, egress=egress, opts=opts)


def _container(index: Index, replicas: int) -> core.v1.ContainerArgsDict:
    alone = ["--cluster.listen-address="]
    together = [
        f"--cluster.listen-address=0.0.0.0:{GOSSIP_PORT}",
        f"--cluster.advertise-address=$(POD_IP):{GOSSIP_PORT}",
        f"--cluster.peer={APP}.{NAMESPACE}.svc.cluster.local:{GOSSIP_PORT}",
    ]
    return {
        "name": APP,
        "image": pods.image(index.artifact(APP)),
        "env": [{"name": "POD_IP", "value_from": {"field_ref": {"field_path": "status.podIP"}}}],
        "args": [
            f"--config.file={CONFIG_PATH}/alertmanager.yml",
            f"--storage.path={DATA_PATH}",
            f"--web.listen-address=:{ALERTMANAGER_PORT}",
            *(together if replicas > 1 else alone),
        ],
        "ports": [{"name": "http", "container_port": ALERTMANAGER_PORT}],
        "resources": {"requests": {"cpu": "5m", "memory": "40Mi"}, "limits": {"cpu": "200m", "memory": "96Mi"}},
        "security_context": pods.locked(),
        "volume_mounts": [
            {"name": "config", "mount_path": CONFIG_PATH, "read_only": True},
            {"name": "data", "mount_path": DATA_PATH},
        ],
        "readiness_probe": pods.probe("/-/ready", "http", period=10, failures=3),
        "liveness_probe": pods.probe("/-/healthy", "http", period=30, failures=3),
        "termination_message_policy": "FallbackToLogsOnError",
    }
