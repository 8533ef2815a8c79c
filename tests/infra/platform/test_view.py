"""The view over both sites: who gets in, what is sent, that nothing else changes, and that Prometheus does all that."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx
import pulumi
import pytest
import yaml

from infra import naming
from infra.artifacts import Index
from infra.platform import cluster
from infra.platform.monitoring import Monitoring, MonitoringArgs, linked, names, scraping, sending, view
from infra.platform.monitoring.host_jobs import Hosts
from infra.platform.monitoring.sending import ClientKey, Sender
from infra.providers.isthmus.certificate import PARTS, Authority, Certificate
from infra.providers.isthmus.handler import Context
from infra.providers.isthmus.log import EngineLog
from ops.mirror.sync import sync
from tests.infra import program, recording
from tests.infra.platform.test_monitoring import peers
from tests.infra.recording import Resource


def args(**more: Any) -> MonitoringArgs:
    hybrid = recording.hybrid()
    assert hybrid.platform.monitoring
    return MonitoringArgs(
        cluster=cluster.of_hosts(hybrid.onprem),
        settings=hybrid.platform.monitoring,
        persistent=True,
        index=recording.index(),
        **more,
    )


def far_sender() -> Sender:
    secret = pulumi.Output.secret(recording.SECRET)
    key = ClientKey(certificate="its certificate", private_key=secret, authority="the view's certificate")
    return sending.from_outside(key, recording.hybrid().onprem.network.ingress_address)


@pytest.fixture(scope="module")
def near() -> list[Resource]:
    """Monitoring of the site that the view is on."""
    return recording.record(lambda: Monitoring("monitoring", args(far_site="cloud")))


@pytest.fixture(scope="module")
def far() -> list[Resource]:
    """Monitoring of the other site."""
    return recording.record(lambda: Monitoring("monitoring", args(sender=far_sender())))


@pytest.fixture(scope="module")
def alone() -> list[Resource]:
    """Monitoring of a site that stands alone."""
    return recording.record(lambda: Monitoring("monitoring", args()))


def spec(resources: list[Resource], kind: str, name: str) -> dict[str, Any]:
    return recording.the(resources, kind, name).inputs["spec"]


def file(resources: list[Resource], config_map: str, name: str) -> dict[str, Any]:
    return yaml.safe_load(recording.the(resources, "ConfigMap", config_map).inputs["data"][name])


def container(resources: list[Resource], name: str) -> dict[str, Any]:
    pod = recording.the(resources, "StatefulSet", name).pod
    assert pod is not None
    (found,) = pod["containers"]
    return found


# --- a site that stands alone


def test_a_site_that_stands_alone_has_nothing_of_it(alone: list[Resource]) -> None:
    assert "view" not in json.dumps([[one.type, one.name, one.inputs] for one in alone])
    written = json.dumps([one.inputs for one in program.of("local").resources])
    assert not [
        word for word in ("prometheus-view", "remote_write", "prometheus_replica", "LinkDown") if word in written
    ]


@pytest.mark.parametrize("name", ["hybrid", "prod", "staging"])
def test_of_two_sites_each_has_a_sender_and_one_the_view(name: str) -> None:
    found = program.of(name).resources
    sending_ = [one.options.provider for one in found if (one.kind, one.name) == ("Secret", sending.SECRET)]
    assert sorted(sending_) == ["cloud", "onprem"]
    (own,) = [one for one in found if (one.kind, one.name) == ("StatefulSet", names.VIEW)]
    assert own.options.provider == "onprem"
    (playbook,) = [one for one in found if (one.kind, one.name) == ("Playbook", "onprem")]
    assert "view" in [service["name"] for service in playbook.inputs["variables"]["tcp_services"]]


# --- who gets in


def test_only_who_proves_who_it_is_gets_in_and_over_tls_alone(near: list[Resource]) -> None:
    (own,) = file(near, f"{names.VIEW}-config", "web.yml").values()
    assert own["client_auth_type"] == "RequireAndVerifyClientCert"
    trusted = recording.the(near, "Secret", view.SECRET).inputs["stringData"]["value"]["ca.crt"]
    (authority,) = [one for one in near if one.kind == "Authority" and one.options.parent == "view"]
    assert trusted == f"certificate of {authority.name}"
    assert "--web.config.file=/etc/prometheus/web.yml" in container(near, names.VIEW)["args"]


def test_only_the_view_takes_writes(near: list[Resource], far: list[Resource]) -> None:
    flag = "--web.enable-remote-write-receiver"
    assert flag in container(near, names.VIEW)["args"]
    assert not [one for one in (near, far) if flag in container(one, "prometheus")["args"]]


def test_keys_are_in_secrets_and_nowhere_else(near: list[Resource], far: list[Resource]) -> None:
    for resource in [*near, *far]:
        if recording.SECRET in json.dumps(resource.inputs):
            # A certificate is told the key of who signs it.
            held = resource.inputs["authority" if resource.kind == "Certificate" else "stringData"]
            assert resource.kind in ("Certificate", "Secret"), resource.name
            assert recording.is_secret(held) or recording.is_secret(held["private_key"]), resource.name


def test_all_certificates_are_of_the_views_own_authority(near: list[Resource]) -> None:
    made = {one.name: one.inputs["authority"] for one in near if one.kind == "Certificate"}
    assert made.keys() == {names.VIEW, f"{names.VIEW}-near", f"{names.VIEW}-far"}
    assert {json.dumps(one, sort_keys=True).count("prometheus-view") for one in made.values()} == {2}


def test_the_far_site_gets_the_key_that_the_view_knows() -> None:
    found = [one for one in program.of("hybrid").resources if (one.kind, one.name) == ("Secret", sending.SECRET)]
    keys = {one.options.provider: one.inputs["stringData"]["value"] for one in found}
    assert keys["onprem"]["tls.key"].endswith("prometheus-view-near")
    assert keys["cloud"]["tls.key"].endswith("prometheus-view-far")
    assert keys["cloud"]["ca.crt"] == f"certificate of {names.VIEW}"


def test_policies_let_through_both_sites_and_nobody_else(near: list[Resource], far: list[Resource]) -> None:
    def policy(resources: list[Resource], app: str) -> dict[str, Any]:
        return spec(resources, "NetworkPolicy", f"monitoring-{app}")

    (own,) = policy(near, names.VIEW)["ingress"]
    assert own == {
        "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}}],
        "ports": [{"port": 9443, "protocol": "TCP"}],
    }
    (outside,) = policy(near, f"{names.VIEW}-published")["ingress"]
    assert {peer["ipBlock"]["cidr"] for peer in outside["from"]} == {"10.90.0.0/24", "10.244.0.0/16"}
    to_view = json.dumps({"podSelector": {"matchLabels": {"app.kubernetes.io/name": names.VIEW}}}, sort_keys=True)
    assert peers(policy(near, "prometheus")["egress"], "to")[to_view] == {9443}
    there = json.dumps({"ipBlock": {"cidr": "10.90.0.101/32"}}, sort_keys=True)
    assert peers(policy(far, "prometheus")["egress"], "to")[there] == {naming.VIEW.port}
    (alerts,) = policy(near, "alertmanager")["ingress"]
    assert names.VIEW in json.dumps(alerts["from"])
    assert names.VIEW not in json.dumps(policy(far, "alertmanager"))


def test_it_sees_the_pods_of_its_namespace_and_nothing_else(near: list[Resource]) -> None:
    (role,) = [one for one in near if one.kind in ("Role", "ClusterRole") and one.name == names.VIEW]
    assert (role.kind, role.inputs["metadata"]["namespace"]) == ("Role", names.NAMESPACE)
    assert [(one["resources"], one["verbs"]) for one in role.inputs["rules"]] == [(["pods"], ["list", "watch"])]
    (own,) = file(near, f"{names.VIEW}-config", "prometheus.yml")["alerting"]["alertmanagers"]
    assert own["kubernetes_sd_configs"] == [{"role": "pod", "namespaces": {"names": [names.NAMESPACE]}}]


def test_the_sites_own_prometheus_reaches_it_without_names(near: list[Resource]) -> None:
    address = spec(near, "Service", names.VIEW)["clusterIP"]
    (write,) = file(near, "prometheus-config", "prometheus.yml")["remote_write"]
    assert write["url"] == f"https://{address}:9443/api/v1/write"
    taken = [one for one in program.of("hybrid").resources if one.kind == "Service"]
    fixed = [(one.options.provider, one.inputs["spec"].get("clusterIP")) for one in taken]
    assert fixed.count(("onprem", address)) == 1


# --- what is sent, and what is made of it


@pytest.mark.parametrize("name", sorted({"up", "ALERTS", "isthmus_ready", "site:inference_errors:ratio_rate5m"}))
def test_what_shows_how_a_site_is_is_sent(name: str) -> None:
    assert re.fullmatch(sending.KEPT, name)


@pytest.mark.parametrize(
    "name", ["container_cpu_usage_seconds_total", "apiserver_request_total", "node_load1", "upper"]
)
def test_what_is_large_is_not(name: str) -> None:
    assert not re.fullmatch(sending.KEPT, name)


def test_what_the_views_rules_use_is_sent() -> None:
    rules = linked.of_view(far_site="cloud")["view.yaml"]
    used = set(re.findall(r"\b(up|isthmus_\w+)\b", rules))
    assert used == {"up", "isthmus_model_served"}
    assert all(re.fullmatch(sending.KEPT, name) for name in used)


def test_samples_are_told_apart_and_alerts_of_replicas_are_not(near: list[Resource]) -> None:
    config = file(near, "prometheus-config", "prometheus.yml")
    assert config["global"]["external_labels"] == {"cluster": "onprem", "prometheus_replica": "${POD_NAME}"}
    assert [one["name"] for one in container(near, "prometheus")["env"]] == ["POD_NAME"]
    assert config["alerting"]["alert_relabel_configs"] == [{"regex": "prometheus_replica", "action": "labeldrop"}]


def test_it_takes_what_is_late_for_longer_than_senders_keep_it(near: list[Resource]) -> None:
    tsdb = file(near, f"{names.VIEW}-config", "prometheus.yml")["storage"]["tsdb"]
    assert tsdb["out_of_order_time_window"] == "3h"
    assert tsdb["retention"].keys() == {"size"}


def test_the_site_that_it_is_on_reads_the_view_like_all_else(near: list[Resource], far: list[Resource]) -> None:
    def jobs(resources: list[Resource]) -> dict[str, Any]:
        config = file(resources, "prometheus-config", "prometheus.yml")
        return {job["job_name"]: job for job in config["scrape_configs"]}

    assert jobs(near).keys() - jobs(far).keys() == {"view"}
    own = jobs(near)["view"]
    assert (own["scheme"], own["tls_config"]) == ("https", sending.tls())


def test_each_site_judges_what_it_sends_and_the_view_both(near: list[Resource], far: list[Resource]) -> None:
    for resources in (near, far):
        rules = recording.the(resources, "ConfigMap", "prometheus-rules").inputs["data"]
        assert "sending.yaml" in rules and "view.yaml" not in rules
    own = recording.the(near, "ConfigMap", f"{names.VIEW}-rules").inputs["data"]
    assert own.keys() == {"view.yaml", linked.SITES_FILE}


# --- Prometheus itself

CTX: Final = Context(urn="", preview=False, log=EngineLog())


@pytest.fixture(scope="module")
def prometheus() -> Path:
    # No environment asks for it.
    sync(["prometheus-binary"])
    return Index.load().artifact("prometheus-binary").local


class Link:
    """Joins a port of this machine to another, until it is cut: then nothing comes through, and nobody is told."""

    def __init__(self, to: int) -> None:
        self.to, self.cut, self.open = to, False, list[socket.socket]()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self.listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.open += [ours, theirs]
            for source, sink in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self.cut:
                    sink.sendall(data)
        except OSError:
            pass

    def heal(self) -> None:
        """What was under way is lost, as with a connection that was given up meanwhile."""
        for one in self.open:
            one.close()
        self.open, self.cut = [], False

    def close(self) -> None:
        self.listener.close()
        self.heal()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def keys(folder: Path) -> None:
    """The files of the view's Secret and of the far site's, as the program would fill them, and of a stranger's."""
    authority, another = (Authority().create(CTX, {"name": "isthmus-view", "days": 3650})[1] for _ in range(2))

    def signed(by: dict[str, Any], name: str) -> dict[str, Any]:
        signer = {part: by[part] for part in PARTS}
        return Certificate().create(CTX, {"names": [name], "days": 3650, "authority": signer})[1]

    own, far = signed(authority, names.VIEW_NAME), signed(authority, "prometheus.far")
    stranger = signed(another, "prometheus.far")
    content = {
        "view": {
            "tls.crt": own["certificate"],
            "tls.key": own["private_key"],
            "ca.crt": authority["certificate"],
        },
        "far": {"tls.crt": far["certificate"], "tls.key": far["private_key"], "ca.crt": authority["certificate"]},
        "stranger": {"tls.crt": stranger["certificate"], "tls.key": stranger["private_key"]},
    }
    for who, files in content.items():
        (folder / who).mkdir()
        for name, text in files.items():
            (folder / who / name).write_text(text)


class Running:
    """The view as the program configures it, on a port of this machine; `folder` has the files of both Secrets."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder, self.port = program, folder, free_port()
        keys(folder)
        (folder / "rules").mkdir()
        for name, text in linked.of_view(far_site="cloud").items():
            (folder / "rules" / name).write_text(text)
        (folder / "web.yml").write_text(yaml.safe_dump(self.here(view.web_config())))

    def here(self, value: dict[str, Any]) -> dict[str, Any]:
        """Configuration whose files are in the folder."""
        text = json.dumps(value)
        for path, to in ((view.TLS_PATH, "view"), (sending.PATH, "far"), (scraping.RULES_PATH, "rules")):
            text = text.replace(path, str(self.folder / to))
        return json.loads(text)

    @contextmanager
    def started(self, name: str, config: dict[str, Any], *options: str) -> Iterator[None]:
        """Prometheus with that configuration, but for what asks Kubernetes."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "prometheus.yml").write_text(yaml.safe_dump(self.here(config) | {"alerting": {}}))
        command = [
            self.program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder}",
            *options,
        ]
        with (folder / "log").open("w") as log:
            environment = {**os.environ, "POD_NAME": "prometheus-0"}
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
            try:
                yield
            finally:
                process.terminate()
                process.wait(20)

    @contextmanager
    def view(self) -> Iterator[None]:
        made = args()
        config = view.config(
            view.ViewArgs(
                cluster=made.cluster, far_site="cloud", settings=made.settings, persistent=True, index=made.index
            )
        )
        web = (f"--web.config.file={self.folder / 'web.yml'}", f"--web.listen-address=127.0.0.1:{self.port}")
        with self.started("of-view", config, "--web.enable-remote-write-receiver", *web):
            self.until(30, lambda: self.client("far").get("/-/ready").status_code == 200)
            yield

    def client(self, who: str | None) -> httpx.Client:
        """Asks the view with the key of that Secret, at an address; its certificate is the only one that is trusted."""
        context = ssl.create_default_context(cafile=str(self.folder / "far" / "ca.crt"))
        context.check_hostname = False
        if who:
            context.load_cert_chain(self.folder / who / "tls.crt", self.folder / who / "tls.key")
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", verify=context, trust_env=False)

    def until(self, seconds: float, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                if holds():
                    return
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, [log.read_text()[-3000:] for log in self.folder.glob("*/log")]
            time.sleep(0.2)


@pytest.fixture
def running(prometheus: Path, tmp_path: Path) -> Running:
    return Running(prometheus, tmp_path)


@pytest.mark.mirror
def test_a_stranger_can_neither_write_nor_read(running: Running) -> None:
    with running.view():
        for who in (None, "stranger"):  # nobody, and one of another authority of the same name
            with running.client(who) as client, pytest.raises(httpx.TransportError):
                client.get("/-/ready")
        with httpx.Client(base_url=f"http://127.0.0.1:{running.port}", trust_env=False) as plain:
            assert plain.post(sending.PATH_OF_WRITES).status_code == 400


@pytest.mark.mirror
def test_what_was_measured_during_a_cut_arrives_after_it(running: Running) -> None:
    every_s, cut_s = 1, 15
    link, own_port = Link(running.port), free_port()
    sender = scraping.config(
        cluster="cloud",
        every_s=every_s,
        retention="1GB",
        hosts=Hosts(),
        view_url=f"https://127.0.0.1:{link.port}{sending.PATH_OF_WRITES}",
    )
    sender["global"]["scrape_timeout"] = f"{every_s}s"
    sender["scrape_configs"] = [{"job_name": "alive", "static_configs": [{"targets": [f"127.0.0.1:{own_port}"]}]}]
    sender["rule_files"] = []
    with (
        running.view(),
        running.started("of-sender", sender, f"--web.listen-address=127.0.0.1:{own_port}"),
        running.client("far") as client,
    ):

        def samples(since: float) -> list[float]:
            """When there were samples of the far site, in Unix time."""
            series = '{cluster="cloud", job="alive", prometheus_replica="prometheus-0"}'
            question = f"up{series}[{time.time() - since + 1:.0f}s]"
            found = client.get("/api/v1/query", params={"query": question}).json()["data"]["result"]
            return [float(at) for at, _ in found[0]["values"]] if found else []

        start = time.time()
        running.until(60, lambda: len(samples(start)) > 3)
        link.cut = True
        began = time.time()
        time.sleep(cut_s)
        during = [at for at in samples(start) if at > began + 1]
        link.heal()
        healed = time.time()
        running.until(60, lambda: samples(start)[-1] > healed)
        found = samples(start)
        listed = client.get("/api/v1/series", params={"match[]": '{__name__!=""}'}).json()["data"]
    link.close()
    assert not during, "the link was not cut"
    holes = [after - before for before, after in pairwise(found)]
    assert max(holes) <= 2 * every_s, holes
    kept = {series["__name__"] for series in listed}
    assert "up" in kept and "view:heard:timestamp_seconds" in kept
    assert not [name for name in kept if not (re.fullmatch(sending.KEPT, name) or name.startswith("view:"))]
