"""The view over both sites with Prometheus itself: who gets in, and that what was measured during a cut arrives."""

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
import pytest
import yaml

from infra.artifacts import Index
from infra.platform.monitoring import linked, names, scraping, sending, view
from infra.platform.monitoring.host_jobs import Hosts
from infra.providers.isthmus.certificate import PARTS, Authority, Certificate
from infra.providers.isthmus.handler import Context
from infra.providers.isthmus.log import EngineLog
from ops.mirror.sync import sync
from tests.infra.platform.test_view import args

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
        config = view.config(made.cluster, made.settings)
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
            time.sleep(0.2)  # between two looks


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
        time.sleep(cut_s)  # the cut itself
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
