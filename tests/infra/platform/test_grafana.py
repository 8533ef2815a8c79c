"""Grafana as it is registered: whom it asks, who reaches it, and what it is told. It cannot be run here."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
import yaml

from infra.environment import Grafana, Resources
from infra.environment_values import Amounts
from infra.platform import cluster
from infra.platform.monitoring import Monitoring, MonitoringArgs, ViewKeys, ViewOver, grafana
from tests.infra import recording
from tests.infra.recording import Resource

SETTINGS = Grafana(
    resources=Resources(requests=Amounts(cpu="50m", memory="192Mi"), limits=Amounts(cpu="1", memory="512Mi"))
)


def registered(*, view: bool = False, settings: Grafana | None = SETTINGS) -> list[Resource]:
    local = recording.local()
    assert local.platform.monitoring
    args = MonitoringArgs(
        cluster=cluster.of_hosts(local.onprem),
        settings=local.platform.monitoring.model_copy(update={"grafana": settings}),
        persistent=True,
        index=recording.index(),
    )

    def made() -> None:
        keys = ViewKeys("view-keys", asked=settings is not None) if view else None
        over = ViewOver(far_site="cloud", keys=keys) if keys else None
        Monitoring("monitoring", dataclasses.replace(args, over=over))

    return recording.record(made)


@pytest.fixture(scope="module")
def alone() -> list[Resource]:
    return registered()


@pytest.fixture(scope="module")
def viewing() -> list[Resource]:
    return registered(view=True)


def spec(resources: list[Resource], kind: str, name: str = "grafana") -> dict[str, Any]:
    return recording.the(resources, kind, name).inputs["spec"]


def pod(resources: list[Resource]) -> dict[str, Any]:
    found = recording.the(resources, "Deployment", "grafana").pod
    assert found is not None
    return found


def container(resources: list[Resource]) -> dict[str, Any]:
    (found,) = pod(resources)["containers"]
    return found


def environment(resources: list[Resource]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(resources)["env"]}


def written(resources: list[Resource], what: str) -> dict[str, str]:
    return recording.the(resources, "ConfigMap", f"grafana-{what}").inputs["data"]


def sources(resources: list[Resource]) -> list[dict[str, Any]]:
    return yaml.safe_load(written(resources, "provisioning")["datasources.yaml"])["datasources"]


def held(resources: list[Resource], secret: str) -> dict[str, str]:
    """What is in a Secret, which the engine keeps encrypted."""
    found = recording.the(resources, "Secret", secret).inputs["stringData"]
    assert recording.is_secret(found)
    return found["value"]


def policy(resources: list[Resource], app: str) -> dict[str, Any]:
    return spec(resources, "NetworkPolicy", f"monitoring-{app}")


def of(app: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"app.kubernetes.io/name": app}}}


def tcp(*ports: int) -> list[dict[str, Any]]:
    return [{"port": port, "protocol": "TCP"} for port in ports]


# --- whom it reaches, and who reaches it


def test_no_pod_reaches_it(alone: list[Resource]) -> None:
    assert policy(alone, "grafana")["ingress"] == [], "kubectl's port-forward comes from the pod's own host"
    service = spec(alone, "Service")
    assert service.get("type", "ClusterIP") == "ClusterIP"
    assert service["ports"] == [{"name": "http", "port": 3000}]


def test_it_asks_names_and_prometheus_and_nobody_else(alone: list[Resource]) -> None:
    dns, prometheus = policy(alone, "grafana")["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert prometheus == {"to": [of("prometheus")], "ports": tcp(9090)}


def test_where_the_view_is_it_asks_that_too(viewing: list[Resource]) -> None:
    assert policy(viewing, "grafana")["egress"][2:] == [{"to": [of("prometheus-view")], "ports": tcp(9443)}]


def test_prometheus_and_the_view_let_it_in(viewing: list[Resource]) -> None:
    assert {"from": [of("prometheus"), of("grafana")], "ports": tcp(9090)} in policy(viewing, "prometheus")["ingress"]
    assert policy(viewing, "prometheus-view")["ingress"][0] == {
        "from": [of("prometheus"), of("grafana")],
        "ports": tcp(9443),
    }


def test_its_sources_are_where_the_policies_and_services_say(viewing: list[Resource]) -> None:
    own, both = sources(viewing)
    assert own["url"] == "http://prometheus.monitoring.svc.cluster.local:9090"
    assert both["url"] == "https://prometheus-view.monitoring.svc:9443"
    names = recording.the(viewing, "Certificate", "prometheus-view").inputs["names"]
    assert both["url"].split("/")[2].partition(":")[0] in names, "the view's certificate is held to the URL's name"
    assert own["jsonData"]["timeInterval"] == "30s"
    assert [one["isDefault"] for one in (own, both) if "isDefault" in one] == [True]


def test_it_proves_itself_to_the_view_with_a_key_of_its_own(viewing: list[Resource]) -> None:
    both = sources(viewing)[1]
    assert both["jsonData"].items() >= {"tlsAuth": True, "tlsAuthWithCACert": True}.items()
    mounts = {one["name"]: one["mountPath"] for one in container(viewing)["volumeMounts"]}
    (volume,) = [one for one in pod(viewing)["volumes"] if one["name"] == "view"]
    files = {item["path"] for item in volume["secret"]["items"]}
    for value in both["secureJsonData"].values():
        named = re.fullmatch(r"\$__file\{(.+)/([^/]+)\}", value)
        assert named and named[1] == mounts["view"] and named[2] in files, value
    own = held(viewing, "grafana-view")
    assert own["tls.key"] == recording.SECRET + "prometheus-view-grafana" != held(viewing, "prometheus-view")["tls.key"]
    assert own["tls.crt"] == "certificate of prometheus-view-grafana"


def test_where_the_view_is_not_there_is_nothing_of_it(alone: list[Resource]) -> None:
    assert len(sources(alone)) == 1
    assert not [one for one in alone if one.name in ("grafana-view", "prometheus-view-grafana")]
    assert "view" not in {one["name"] for one in pod(alone)["volumes"]}


# --- who may look


def test_only_who_has_the_password_looks(alone: list[Resource]) -> None:
    found = environment(alone)
    assert found["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert found["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert "GF_SECURITY_ADMIN_PASSWORD" not in found
    secrets = held(alone, "grafana")
    assert secrets.keys() == {"admin_password", "secret_key"}
    assert len({*secrets.values()}) == 2


def test_secrets_are_files_where_it_is_told_and_nowhere_else(viewing: list[Resource]) -> None:
    (mount,) = [one for one in container(viewing)["volumeMounts"] if one["name"] == "secrets"]
    (volume,) = [one for one in pod(viewing)["volumes"] if one["name"] == "secrets"]
    assert volume["secret"]["secretName"] == "grafana"
    files = {f"{mount['mountPath']}/{item['path']}" for item in volume["secret"]["items"]}
    told = {value for key, value in environment(viewing).items() if key.endswith("__FILE")}
    assert told == files
    for one in viewing:
        if one.kind != "Secret" and one.type.startswith("kubernetes:"):
            assert recording.SECRET not in json.dumps(one.inputs), one.name


def test_other_secrets_start_it_anew(alone: list[Resource], viewing: list[Resource]) -> None:
    marks = {
        spec(resources, "Deployment")["template"]["metadata"]["annotations"]["isthmus.dev/secrets"]
        for resources in (alone, viewing)
    }
    assert len(marks) == 2


def test_it_holds_no_key_to_the_api(alone: list[Resource]) -> None:
    assert pod(alone)["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod(alone)


# --- what it is told


@pytest.mark.parametrize(
    "option",
    [
        "ANALYTICS_REPORTING_ENABLED",
        "ANALYTICS_CHECK_FOR_UPDATES",
        "ANALYTICS_CHECK_FOR_PLUGIN_UPDATES",
        "NEWS_NEWS_FEED_ENABLED",
        "SNAPSHOTS_EXTERNAL_ENABLED",
        "PLUGINS_PREINSTALL_AUTO_UPDATE",
        "PLUGINS_PLUGIN_ADMIN_ENABLED",
        "UNIFIED_ALERTING_ENABLED",
    ],
)
def test_what_would_ask_outside_or_change_it_is_off(alone: list[Resource], option: str) -> None:
    assert environment(alone)[f"GF_{option}"] == "false"


@pytest.mark.parametrize(
    "option",
    ["PLUGINS_PREINSTALL_DISABLED", "PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED", "SECURITY_DISABLE_GRAVATAR"],
)
def test_what_turns_such_things_off_is_on(alone: list[Resource], option: str) -> None:
    assert environment(alone)[f"GF_{option}"] == "true"


def test_its_files_are_where_it_looks_for_them(alone: list[Resource]) -> None:
    mounts = container(alone)["volumeMounts"]
    provisioned = written(alone, "provisioning")
    for what in ("datasources", "dashboards"):
        (mount,) = [one for one in mounts if one["mountPath"].startswith(f"{grafana.PROVISIONING_PATH}/{what}/")]
        assert mount["subPath"] in provisioned and mount["mountPath"].endswith(".yaml")
    (provider,) = yaml.safe_load(provisioned["dashboards.yaml"])["providers"]
    (shown,) = [one["mountPath"] for one in mounts if one["name"] == "dashboards"]
    assert provider["options"]["path"] == shown
    home = environment(alone)["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home in {f"{shown}/{name}" for name in written(alone, "dashboards")}
    volumes = {one["name"]: one for one in pod(alone)["volumes"]}
    for what in ("provisioning", "dashboards"):
        name = recording.the(alone, "ConfigMap", f"grafana-{what}").inputs["metadata"]["name"]
        assert volumes[what]["configMap"]["name"] == name, "a change of it starts the pod anew"


def test_it_writes_to_bounded_scratch_alone(viewing: list[Resource]) -> None:
    writable = {one["mountPath"]: one["name"] for one in container(viewing)["volumeMounts"] if not one.get("readOnly")}
    assert writable.keys() == {"/var/lib/grafana", "/tmp"}
    volumes = {one["name"]: one for one in pod(viewing)["volumes"]}
    assert all("sizeLimit" in volumes[name]["emptyDir"] for name in writable.values())


def test_both_sites_are_shown_only_where_the_view_is(alone: list[Resource], viewing: list[Resource]) -> None:
    for resources in (alone, viewing):
        provisioned = {one["uid"] for one in sources(resources)}
        asked = {
            target["datasource"]["uid"]
            for text in written(resources, "dashboards").values()
            for panel in json.loads(text)["panels"]
            for target in panel.get("targets", [])
        }
        assert asked == provisioned


def test_without_the_key_there_is_none_and_nobody_else_asks_prometheus() -> None:
    found = registered(view=True, settings=None)
    assert not [one for one in found if "grafana" in one.name.lower()]
    assert "grafana" not in json.dumps([one.inputs for one in found])
