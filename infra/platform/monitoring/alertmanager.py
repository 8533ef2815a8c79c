"""Alertmanager: groups alerts, keeps silences, mutes what follows from a fault that is known, and tells receivers.

Silences are kept by replicas for each other; where there is one, they go with its pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import certifi
import pulumi
import yaml
from pulumi_kubernetes import apps, core, policy

from infra.alerts import Alerts
from infra.artifacts import Index
from infra.platform import pods, policies, priorities
from infra.platform.cluster import Cluster
from infra.platform.monitoring import receivers
from infra.platform.monitoring.names import ALERTMANAGER, ALERTMANAGER_PORT, GOSSIP_PORT, NAMESPACE, PROMETHEUS

APP: Final = ALERTMANAGER
CONFIG_PATH: Final = "/etc/alertmanager"
DATA_PATH: Final = "/alertmanager"
AUTHORITIES_PATH: Final = "/etc/authorities"
AUTHORITIES_FILE: Final = "authorities.pem"


def config(alerts: Alerts | None = None, *, secrets_at: str = receivers.SECRETS_PATH) -> dict[str, Any]:
    """The whole of alertmanager.yml. What no receiver asked for stays with nobody: it is seen, and not sent."""
    return {
        "route": {
            "receiver": "nobody",
            "group_by": ["alertname", "cluster"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": "4h",
            **({"routes": receivers.routes(alerts)} if alerts else {}),
        },
        "receivers": [{"name": "nobody"}, *(receivers.receivers(alerts, secrets_at=secrets_at) if alerts else [])],
        "inhibit_rules": [
            # That a host is down says that nothing on it answers, nor works.
            _mutes("NodeDown", "TargetDown|LoadBalancerDown|EtcdBackupTooOld", "node"),
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


def authorities() -> str:
    """The public authorities, as Mozilla lists them: the image has none, and receivers are reached over TLS."""
    lines = Path(certifi.where()).read_text(encoding="ascii").splitlines()
    return "\n".join(line for line in lines if line and not line.startswith("#")) + "\n"


@dataclass(frozen=True, kw_only=True)
class AlertmanagerArgs:
    """`readers` may ask for alerts too. `alerts`: whom to tell, with their `secrets` by name; None is nobody."""

    cluster: Cluster
    replicas: int
    index: Index
    readers: Sequence[policies.Peer] = ()
    alerts: Alerts | None = None
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)


class Alertmanager(pulumi.ComponentResource):
    """Its replicas, each on a host of its own, that hear of each other's silences."""

    def __init__(self, name: str, args: AlertmanagerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Alertmanager", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        replicas = args.replicas
        text = yaml.safe_dump(config(args.alerts), sort_keys=False)
        configuration = core.v1.ConfigMap(
            APP,
            metadata=pods.metadata(APP, name=pods.content_name(APP, text), namespace=NAMESPACE),
            data={"alertmanager.yml": text},
            opts=child,
        )
        network = _network(args, child)
        telling = _telling(args, child)
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
            "topology_spread_constraints": pods.apart(APP, replicas=replicas, cluster=args.cluster),
            "tolerations": pods.leaving_soon(),
            "containers": [_container(args)],
            "volumes": [
                {"name": "config", "config_map": {"name": configuration.metadata["name"]}},
                pods.scratch("data", "64Mi"),
                *telling,
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


def _telling(args: AlertmanagerArgs, opts: pulumi.ResourceOptions) -> list[core.v1.VolumeArgsDict]:
    """What it needs to tell receivers, as volumes. A secret that changes is read anew, without a start."""
    if not args.alerts:
        return []
    text = authorities()
    trusted = core.v1.ConfigMap(
        f"{APP}-authorities",
        metadata=pods.metadata(APP, name=pods.content_name(f"{APP}-authorities", text), namespace=NAMESPACE),
        data={AUTHORITIES_FILE: text},
        opts=opts,
    )
    volumes: list[core.v1.VolumeArgsDict] = [
        {"name": "authorities", "config_map": {"name": trusted.metadata["name"]}},
    ]
    if args.secrets:
        secret = f"{APP}-receivers"
        core.v1.Secret(
            secret,
            metadata=pods.metadata(APP, name=secret, namespace=NAMESPACE),
            string_data=dict(args.secrets),
            opts=opts,
        )
        volumes.append(pods.mounted_secret("secrets", secret, *sorted(args.secrets)))
    return volumes


def _network(args: AlertmanagerArgs, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    """Alerts come from Prometheus and go to receivers; replicas talk with each other, and readers may ask."""
    ingress: list[policies.Ingress] = [
        {"from_": [policies.app(PROMETHEUS), *args.readers], "ports": policies.ports(ALERTMANAGER_PORT)}
    ]
    egress = receivers.egress(args.alerts, args.cluster) if args.alerts else []
    if args.replicas > 1:
        gossip = policies.ports(GOSSIP_PORT) + policies.ports(GOSSIP_PORT, protocol="UDP")
        ingress.append({"from_": [policies.app(APP)], "ports": gossip})
        egress += [{"to": [policies.app(APP)], "ports": gossip}, policies.to_dns()]
    return policies.allow(APP, NAMESPACE, ingress=ingress, egress=egress, opts=opts)


def _container(args: AlertmanagerArgs) -> core.v1.ContainerArgsDict:
    alone = ["--cluster.listen-address="]
    together = [
        f"--cluster.listen-address=0.0.0.0:{GOSSIP_PORT}",
        f"--cluster.advertise-address=$(POD_IP):{GOSSIP_PORT}",
        f"--cluster.peer={APP}.{NAMESPACE}.svc.cluster.local:{GOSSIP_PORT}",
    ]
    env: list[core.v1.EnvVarArgsDict] = [
        {"name": "POD_IP", "value_from": {"field_ref": {"field_path": "status.podIP"}}}
    ]
    mounts: list[core.v1.VolumeMountArgsDict] = [
        {"name": "config", "mount_path": CONFIG_PATH, "read_only": True},
        {"name": "data", "mount_path": DATA_PATH},
    ]
    if args.alerts:
        env.append({"name": "SSL_CERT_FILE", "value": f"{AUTHORITIES_PATH}/{AUTHORITIES_FILE}"})
        mounts.append({"name": "authorities", "mount_path": AUTHORITIES_PATH, "read_only": True})
    if args.alerts and args.secrets:
        mounts.append({"name": "secrets", "mount_path": receivers.SECRETS_PATH, "read_only": True})
    return {
        "name": APP,
        "image": pods.image(args.index.artifact(APP)),
        "env": env,
        "args": [
            f"--config.file={CONFIG_PATH}/alertmanager.yml",
            f"--storage.path={DATA_PATH}",
            f"--web.listen-address=:{ALERTMANAGER_PORT}",
            *(together if args.replicas > 1 else alone),
        ],
        "ports": [{"name": "http", "container_port": ALERTMANAGER_PORT}],
        "resources": {"requests": {"cpu": "5m", "memory": "40Mi"}, "limits": {"cpu": "200m", "memory": "96Mi"}},
        "security_context": pods.locked(),
        "volume_mounts": mounts,
        "startup_probe": pods.probe("/-/ready", "http", period=2, failures=30),
        "readiness_probe": pods.probe("/-/ready", "http", period=10, failures=3),
        "liveness_probe": pods.probe("/-/healthy", "http", period=30, failures=3),
        "termination_message_policy": "FallbackToLogsOnError",
    }
