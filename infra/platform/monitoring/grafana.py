"""Grafana: dashboards of what Prometheus keeps, for those who look; alerts are Prometheus' and Alertmanager's.

All that it shows is in files (dashboards.py), and its database is scratch: a pod that is lost takes nothing with it but
sessions. It asks the site's own Prometheus, and the view over both sites where that is, and reaches nothing else.
Nobody reaches it but through the API: `kubectl port-forward`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
import yaml
from pulumi_kubernetes import apps, core

from infra.artifacts import Index
from infra.environment import Grafana as Settings
from infra.naming import GRAFANA
from infra.platform import pods, policies, priorities
from infra.platform.monitoring import dashboards, server
from infra.platform.monitoring.dashboards import Source
from infra.platform.monitoring.names import (
    GRAFANA_PORT,
    NAMESPACE,
    PROMETHEUS,
    PROMETHEUS_PORT,
    VIEW,
    VIEW_NAME,
    VIEW_PORT,
)
from infra.platform.monitoring.sending import ClientKey
from infra.resources import RandomSecret

APP: Final = GRAFANA
USER: Final = 472
"""The image's own, to whom its files belong."""

PROVISIONING_PATH: Final = "/etc/grafana/provisioning"
DASHBOARDS_PATH: Final = "/etc/grafana-dashboards"
SECRETS_PATH: Final = "/etc/grafana-secrets"
VIEW_PATH: Final = "/etc/grafana-view"
DATA_PATH: Final = "/var/lib/grafana"

HOME: Final = "site.json"

OPTIONS: Final = {
    # It asks nobody outside, and nothing is added to its image.
    "ANALYTICS_REPORTING_ENABLED": "false",
    "ANALYTICS_CHECK_FOR_UPDATES": "false",
    "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    "ANALYTICS_FEEDBACK_LINKS_ENABLED": "false",
    "NEWS_NEWS_FEED_ENABLED": "false",
    "SECURITY_DISABLE_GRAVATAR": "true",
    "SNAPSHOTS_EXTERNAL_ENABLED": "false",
    "PLUGINS_PREINSTALL_DISABLED": "true",
    "PLUGINS_PREINSTALL_AUTO_UPDATE": "false",
    "PLUGINS_PLUGIN_ADMIN_ENABLED": "false",
    "PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED": "true",
    # Nobody sees it but who has the password.
    "AUTH_ANONYMOUS_ENABLED": "false",
    "USERS_ALLOW_SIGN_UP": "false",
    "USERS_ALLOW_ORG_CREATE": "false",
    "SECURITY_ADMIN_PASSWORD__FILE": f"{SECRETS_PATH}/admin_password",
    "SECURITY_SECRET_KEY__FILE": f"{SECRETS_PATH}/secret_key",
    # Who is told of what is Alertmanager's.
    "UNIFIED_ALERTING_ENABLED": "false",
    "DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": f"{DASHBOARDS_PATH}/{HOME}",
    "SERVER_HTTP_PORT": str(GRAFANA_PORT),
}
"""Of its configuration, as SECTION_KEY; its image reads a `__FILE` before it starts."""


@dataclass(frozen=True, kw_only=True)
class GrafanaArgs:
    """`scrape_seconds` between two looks of Prometheus; `view_key` proves Grafana to the view, where that is here."""

    settings: Settings
    scrape_seconds: int
    index: Index
    view_key: ClientKey | None = None


class Grafana(pulumi.ComponentResource):
    """Nothing waits for it: a site that nobody looks at is watched all the same."""

    def __init__(self, name: str, args: GrafanaArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("isthmus:platform:Grafana", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        view = args.view_key is not None
        shown = server.files(APP, "dashboards", dashboards.files(view=view), child)
        settings = server.files(APP, "provisioning", provisioning(args.scrape_seconds, view=view), child)
        secrets = _secrets(args.view_key, child)
        network = policies.allow(APP, NAMESPACE, ingress=[], egress=_egress(view=view), opts=child)
        core.v1.Service(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={"selector": pods.selector(APP), "ports": [{"name": "http", "port": GRAFANA_PORT}]},
            opts=child,
        )
        apps.v1.Deployment(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            spec={
                "replicas": 1,
                "selector": {"match_labels": pods.selector(APP)},
                "template": {
                    "metadata": {
                        "labels": pods.selector(APP),
                        # It reads them when it starts.
                        "annotations": {"isthmus.dev/secrets": secrets.mark},
                    },
                    "spec": _pod(args, settings.metadata["name"], shown.metadata["name"]),
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*secrets.made, network]),
        )
        self.register_outputs({})


def provisioning(scrape_seconds: int, *, view: bool) -> dict[str, str]:
    """What it reads when it starts, by the file's name: whom it asks, and where its dashboards are."""
    own = f"http://{PROMETHEUS}.{NAMESPACE}.svc.cluster.local:{PROMETHEUS_PORT}"
    sources = [_source("site", "This site", own, scrape_seconds) | {"isDefault": True}]
    if view:
        both = _source("view", "Both sites", f"https://{VIEW_NAME}:{VIEW_PORT}", scrape_seconds)
        both["jsonData"] |= {"tlsAuth": True, "tlsAuthWithCACert": True}
        both["secureJsonData"] = {
            "tlsCACert": f"$__file{{{VIEW_PATH}/ca.crt}}",
            "tlsClientCert": f"$__file{{{VIEW_PATH}/tls.crt}}",
            "tlsClientKey": f"$__file{{{VIEW_PATH}/tls.key}}",
        }
        sources.append(both)
    provider = {
        "name": APP,
        "type": "file",
        "disableDeletion": True,
        "allowUiUpdates": False,
        # They change with the pod.
        "updateIntervalSeconds": 3600,
        "options": {"path": DASHBOARDS_PATH},
    }
    return {
        "datasources.yaml": yaml.safe_dump({"apiVersion": 1, "datasources": sources}, sort_keys=False),
        "dashboards.yaml": yaml.safe_dump({"apiVersion": 1, "providers": [provider]}, sort_keys=False),
    }


def _source(uid: Source, name: str, url: str, scrape_seconds: int) -> dict[str, Any]:
    return {
        "uid": uid,
        "name": name,
        "type": "prometheus",
        "access": "proxy",
        "url": url,
        "editable": False,
        "jsonData": {"httpMethod": "POST", "prometheusType": "Prometheus", "timeInterval": f"{scrape_seconds}s"},
    }


@dataclass(frozen=True, kw_only=True)
class _Secrets:
    made: list[pulumi.Resource]
    mark: pulumi.Output[str]


def _secrets(view_key: ClientKey | None, opts: pulumi.ResourceOptions) -> _Secrets:
    """The password of `admin`, the key of its database, and what proves it to the view."""
    password = RandomSecret(f"{APP}-admin-password", bytes=16, opts=opts).value
    key = RandomSecret(f"{APP}-secret-key", bytes=32, opts=opts).value
    made: list[pulumi.Resource] = [
        core.v1.Secret(
            APP,
            metadata=pods.metadata(APP, namespace=NAMESPACE),
            string_data={"admin_password": password, "secret_key": key},
            opts=opts,
        )
    ]
    if view_key is None:
        return _Secrets(made=made, mark=pods.fingerprint(password, key))
    made.append(
        core.v1.Secret(
            f"{APP}-view",
            metadata=pods.metadata(APP, name=f"{APP}-view", namespace=NAMESPACE),
            string_data={
                "tls.crt": view_key.certificate,
                "tls.key": view_key.private_key,
                "ca.crt": view_key.authority,
            },
            opts=opts,
        )
    )
    return _Secrets(made=made, mark=pods.fingerprint(password, key, view_key.certificate, view_key.authority))


def _egress(*, view: bool) -> list[policies.Egress]:
    """Whom it asks, by name, and nobody outside."""
    asked: list[policies.Egress] = [
        policies.to_dns(),
        {"to": [policies.app(PROMETHEUS)], "ports": policies.ports(PROMETHEUS_PORT)},
    ]
    if view:
        asked.append({"to": [policies.app(VIEW)], "ports": policies.ports(VIEW_PORT)})
    return asked


def _pod(args: GrafanaArgs, settings: pulumi.Input[str], shown: pulumi.Input[str]) -> core.v1.PodSpecArgsDict:
    volumes: list[core.v1.VolumeArgsDict] = [
        {"name": "provisioning", "config_map": {"name": settings}},
        {"name": "dashboards", "config_map": {"name": shown}},
        pods.mounted_secret("secrets", APP, "admin_password", "secret_key"),
        pods.scratch("data", "512Mi"),
        pods.scratch("tmp", "64Mi"),
    ]
    if args.view_key:
        volumes.append(pods.mounted_secret("view", f"{APP}-view", "tls.crt", "tls.key", "ca.crt"))
    return {
        "priority_class_name": priorities.MONITORING,
        "automount_service_account_token": False,
        "enable_service_links": False,
        "security_context": pods.unprivileged(USER),
        "tolerations": pods.leaving_soon(),
        "containers": [_container(args)],
        "volumes": volumes,
    }


def _container(args: GrafanaArgs) -> core.v1.ContainerArgsDict:
    mounts: list[core.v1.VolumeMountArgsDict] = [
        _provisioned("datasources"),
        _provisioned("dashboards"),
        {"name": "dashboards", "mount_path": DASHBOARDS_PATH, "read_only": True},
        {"name": "secrets", "mount_path": SECRETS_PATH, "read_only": True},
        {"name": "data", "mount_path": DATA_PATH},
        {"name": "tmp", "mount_path": "/tmp"},
    ]
    if args.view_key:
        mounts.append({"name": "view", "mount_path": VIEW_PATH, "read_only": True})
    return {
        "name": APP,
        "image": pods.image(args.index.artifact(APP)),
        "env": [{"name": f"GF_{key}", "value": value} for key, value in sorted(OPTIONS.items())],
        "ports": [{"name": "http", "container_port": GRAFANA_PORT}],
        "resources": pods.amounts(args.settings.resources),
        "security_context": pods.locked(),
        "volume_mounts": mounts,
        # It first makes its database, in some hundred steps.
        "startup_probe": pods.probe("/api/health", "http", period=5, failures=60),
        "readiness_probe": pods.probe("/api/health", "http", period=10, failures=3),
        "liveness_probe": pods.probe("/api/health", "http", period=30, failures=3),
        "termination_message_policy": "FallbackToLogsOnError",
    }


def _provisioned(what: str) -> core.v1.VolumeMountArgsDict:
    """One file beside what the image has there: its folders of what is not provisioned are read too."""
    path = f"{PROVISIONING_PATH}/{what}/{APP}.yaml"
    return {"name": "provisioning", "mount_path": path, "sub_path": f"{what}.yaml", "read_only": True}
