"""Receivers: who hears of what, where Alertmanager gets to, and that it takes the configuration and delivers."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pulumi
import pytest
import yaml

from infra.alerts import Alerts
from infra.artifacts import Index
from infra.platform import cluster, coredns
from infra.platform.monitoring import alertmanager, names, receivers
from infra.platform.monitoring.alertmanager import Alertmanager, AlertmanagerArgs
from ops.mirror.sync import sync
from tests.infra import recording
from tests.infra.recording import Resource

ALERTS = Alerts.model_validate(
    {
        "receivers": [
            {"name": "on-call", "severities": ["critical"], "webhook": {"host": "10.90.0.1", "port": 9095}},
            {"name": "chat", "slack": {"channel": "#alerts"}},
            {
                "name": "team",
                "severities": ["warning"],
                "mail": {"host": "mail.example.com", "sender": "a@b.cc", "to": ["c@b.cc", "d@b.cc"], "user": "a"},
                "networks": ["192.0.2.0/24"],
            },
        ],
        "resolvers": ["10.90.0.1", "10.90.0.3"],
    }
)


def registered(alerts: Alerts | None, replicas: int = 1) -> list[Resource]:
    def make() -> None:
        # Inside the run: an output belongs to one.
        secrets = {one.name: pulumi.Output.secret(recording.SECRET) for one in alerts.receivers} if alerts else {}
        args = AlertmanagerArgs(
            cluster=cluster.of_hosts(recording.local().onprem),
            replicas=replicas,
            index=recording.index(),
            alerts=alerts,
            secrets=secrets,
        )
        Alertmanager("alertmanager", args)

    return recording.record(make)


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return registered(ALERTS)


def container(resources: list[Resource]) -> dict[str, Any]:
    pod = recording.the(resources, "Deployment", "alertmanager").pod
    assert pod is not None
    (found,) = pod["containers"]
    return found


def egress(resources: list[Resource]) -> list[dict[str, Any]]:
    return recording.the(resources, "NetworkPolicy", "monitoring-alertmanager").inputs["spec"]["egress"]


# --- who hears of what


def test_each_hears_of_the_severities_that_it_asked_for_whoever_else_does() -> None:
    routes = alertmanager.config(ALERTS)["route"]["routes"]
    assert [(route["receiver"], route["matchers"]) for route in routes] == [
        ("on-call", ['severity="critical"']),
        ("chat", ['severity="critical"']),
        ("chat", ['severity="warning"']),
        ("team", ['severity="warning"']),
    ]
    assert all(route["continue"] for route in routes)


def test_what_follows_from_a_fault_is_not_sent_before_the_fault_can_mute_it() -> None:
    """NodeDown is there within half a minute of the loss, and what a lost host leaves behind within less."""
    waits = {severity: pace["group_wait"] for severity, pace in receivers.PACE.items()}
    assert waits == {"critical": "10s", "warning": "1m"}


def test_whoever_hears_of_a_fault_hears_of_its_end() -> None:
    ways = [way for one in receivers.receivers(ALERTS) for key, ways in one.items() if key != "name" for way in ways]
    assert len(ways) == 3
    assert all(way["send_resolved"] for way in ways)


def test_without_receivers_nothing_changes() -> None:
    assert "routes" not in alertmanager.config()["route"]
    assert alertmanager.config()["receivers"] == [{"name": "nobody"}]
    plain = registered(None)
    assert not [one for one in plain if one.kind == "Secret"]
    assert [one.name for one in plain if one.kind == "ConfigMap"] == ["alertmanager"]
    assert {mount["name"] for mount in container(plain)["volumeMounts"]} == {"config", "data"}
    assert egress(plain) == []


# --- secrets


def test_secrets_are_in_a_secret_and_nowhere_else(resources: list[Resource]) -> None:
    secret = recording.the(resources, "Secret", "alertmanager-receivers").inputs
    assert recording.is_secret(secret["stringData"])
    assert secret["stringData"]["value"].keys() == {"on-call", "chat", "team"}
    for resource in resources:
        if resource.kind != "Secret":
            assert recording.SECRET not in json.dumps(resource.inputs), f"{resource.kind} {resource.name}"


def test_secrets_are_read_from_files_that_are_mounted(resources: list[Resource]) -> None:
    written = recording.the(resources, "ConfigMap", "alertmanager").inputs["data"]["alertmanager.yml"]
    by_name = {one["name"]: one for one in yaml.safe_load(written)["receivers"]}
    assert by_name["on-call"]["webhook_configs"][0]["url_file"] == "/etc/alertmanager-secrets/on-call"
    assert by_name["chat"]["slack_configs"][0]["api_url_file"] == "/etc/alertmanager-secrets/chat"
    assert by_name["team"]["email_configs"][0]["auth_password_file"] == "/etc/alertmanager-secrets/team"
    mounts = {mount["name"]: mount for mount in container(resources)["volumeMounts"]}
    assert mounts["secrets"] == {"name": "secrets", "mountPath": "/etc/alertmanager-secrets", "readOnly": True}
    pod = recording.the(resources, "Deployment", "alertmanager").pod
    assert pod is not None
    (volume,) = [one for one in pod["volumes"] if one["name"] == "secrets"]
    assert volume["secret"]["secretName"] == "alertmanager-receivers"
    assert {item["key"] for item in volume["secret"]["items"]} == {"on-call", "chat", "team"}


def test_a_mail_server_that_asks_for_no_password_gets_none() -> None:
    mail = {"host": "mail.example.com", "sender": "a@b.cc", "to": ["c@b.cc"]}
    alerts = Alerts.model_validate({"receivers": [{"name": "team", "mail": mail}], "resolvers": ["10.90.0.1"]})
    assert alerts.receivers[0].secret_key is None
    (config,) = receivers.receivers(alerts)[0]["email_configs"]
    assert not [key for key in config if key.startswith("auth_")]


def test_receivers_are_verified_by_public_authorities(resources: list[Resource]) -> None:
    (variable,) = [one for one in container(resources)["env"] if one["name"] == "SSL_CERT_FILE"]
    folder, _, name = variable["value"].rpartition("/")
    assert folder in {mount["mountPath"] for mount in container(resources)["volumeMounts"]}
    pem = recording.the(resources, "ConfigMap", "alertmanager-authorities").inputs["data"][name]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=pem)
    assert context.cert_store_stats()["x509_ca"] > 100
    assert len(pem) < 2**20, "more does not fit into a ConfigMap"


# --- the way there


def test_it_gets_out_to_receivers_alone(resources: list[Resource]) -> None:
    address, anywhere, known, dns = egress(resources)
    assert address == {"to": [{"ipBlock": {"cidr": "10.90.0.1/32"}}], "ports": [{"port": 9095, "protocol": "TCP"}]}
    (peer,) = anywhere["to"]
    assert peer["ipBlock"] == {"cidr": "0.0.0.0/0", "except": ["10.90.0.0/24", "10.244.0.0/16", "169.254.0.0/16"]}
    assert [one["port"] for one in anywhere["ports"]] == [443]
    assert known == {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 587, "protocol": "TCP"}]}
    assert {one["port"] for one in dns["ports"]} == {53}


def test_a_receiver_at_an_address_needs_no_dns() -> None:
    first = ALERTS.model_copy(update={"receivers": ALERTS.receivers[:1]})
    assert len(egress(registered(first))) == 1
    assert coredns.corefile(first) == coredns.COREFILE


def test_replicas_hear_of_each_other_all_the_same() -> None:
    ports = {one["port"] for rule in egress(registered(ALERTS, replicas=2)) for one in rule["ports"]}
    assert ports == {9095, 443, 587, 53, names.GOSSIP_PORT}


def test_the_clusters_dns_looks_up_receivers_and_nothing_else_outside() -> None:
    text = coredns.corefile(ALERTS)
    assert "\nhooks.slack.com:53 mail.example.com:53 {\n" in text
    assert text.count("forward . 10.90.0.1 10.90.0.3\n") == 1
    assert ".:53 {\n    errors\n    template ANY ANY {\n        rcode NXDOMAIN" in text
    assert coredns.corefile(None) == coredns.COREFILE


def test_the_clusters_dns_gets_out_to_the_resolvers_it_is_told_of_alone() -> None:
    def make() -> None:
        coredns.CoreDns(
            "coredns", cluster=cluster.of_hosts(recording.local().onprem), index=recording.index(), alerts=ALERTS
        )

    allowed = recording.the(recording.record(make), "NetworkPolicy", "kube-system-coredns").inputs["spec"]
    _, resolvers = allowed["egress"]
    assert resolvers["to"] == [{"ipBlock": {"cidr": f"{address}/32"}} for address in ("10.90.0.1", "10.90.0.3")]
    assert resolvers["ports"] == [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]


# --- Alertmanager itself


@pytest.fixture(scope="module")
def program() -> Path:
    sync(["alertmanager-binary"])
    return Index.load().artifact("alertmanager-binary").local


@contextmanager
def listening() -> Iterator[tuple[int, list[tuple[str, dict[str, Any]]]]]:
    """A receiver of webhooks: its port, and (path, body) of all that it was told."""
    told: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append((self.path, json.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, told
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running(program: Path, config: dict[str, Any], folder: Path) -> Iterator[httpx.Client]:
    """Alertmanager with that configuration, once it is ready; it refuses to start with one that it does not take."""
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "log").open("w")
    options = ("--cluster.listen-address=", f"--storage.path={folder}", f"--web.listen-address=127.0.0.1:{port}")
    command = [program, f"--config.file={folder / 'alertmanager.yml'}", *options]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            deadline = time.monotonic() + 30
            while not _ready(client):
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.mirror
def test_alertmanager_takes_the_configuration_with_and_without_receivers(program: Path, tmp_path: Path) -> None:
    for alerts in (None, ALERTS):
        with running(program, alertmanager.config(alerts), tmp_path) as client:
            assert client.get("/-/healthy").status_code == 200


@pytest.mark.mirror
def test_a_fault_and_its_end_are_delivered_and_what_follows_from_it_is_not(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "PACE", {severity: {"group_wait": "1s"} for severity in receivers.PACE})
    with listening() as (port, told):
        here = {"host": "127.0.0.1", "port": port}
        who = [
            {"name": "hook", "webhook": here},
            {"name": "chat", "slack": {**here, "channel": "#alerts"}, "severities": ["critical"]},
        ]
        for one in who:
            (tmp_path / str(one["name"])).write_text(f"http://127.0.0.1:{port}/{one['name']}\n")
        config = alertmanager.config(Alerts.model_validate({"receivers": who}), secrets_at=str(tmp_path))
        config["route"]["group_interval"] = "1s"
        with running(program, config, tmp_path) as client:
            node = {"cluster": "onprem", "node": "onprem-2"}
            down = {"labels": {"alertname": "NodeDown", "severity": "critical", **node}}
            follows = {"labels": {"alertname": "TargetDown", "severity": "warning", "job": "node", **node}}
            other = {"labels": {"alertname": "RulesFailing", "severity": "warning", "cluster": "onprem"}}
            annotated = [
                {**one, "annotations": {"summary": "It is down", "runbook_url": "x.md"}} for one in (down, other)
            ]
            client.post("/api/v2/alerts", json=[*annotated, follows]).raise_for_status()
            _until(lambda: {"NodeDown", "RulesFailing"} <= _hooked(told, "firing"), told)
            _until(
                lambda: any(path == "/chat" and "It is down (x.md)" in json.dumps(body) for path, body in told), told
            )
            time.sleep(3)  # whoever is muted had its turn, which comes each second
            during = json.dumps(told)  # with the fault the muting ends, perhaps before the news of its end
            over = {**annotated[0], "endsAt": datetime.now(UTC).isoformat()}
            client.post("/api/v2/alerts", json=[over]).raise_for_status()
            _until(lambda: "NodeDown" in _hooked(told, "resolved"), told)
    assert not [body for path, body in told if path == "/chat" and "RulesFailing" in json.dumps(body)]
    assert "TargetDown" not in during, "it was muted for as long as the host was down"


def _hooked(told: list[tuple[str, dict[str, Any]]], status: str) -> set[str]:
    bodies = [body for path, body in told if path == "/hook"]
    return {one["labels"]["alertname"] for body in bodies for one in body["alerts"] if one["status"] == status}


def _until(true: Any, told: Any) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, told
        time.sleep(0.1)
