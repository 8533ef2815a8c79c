"""Who the client is, and whom it believes, on a server of its own that asks for certificates."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from urllib3.exceptions import InsecureRequestWarning

from infra.providers.isthmus.certificate import Authority, Certificate
from infra.providers.isthmus.handler import Context
from infra.providers.isthmus.log import EngineLog
from infra.providers.offline.kubernetes import kinds
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.kubernetes.errors import Unreachable

CTX = Context(urn="test", preview=False, log=EngineLog())
CONFIG_MAP = kinds.TABLE["kubernetes:core/v1:ConfigMap"]


class WhoAreYou(BaseHTTPRequestHandler):
    """Answers a request with what the client's certificate says that it is."""

    def do_GET(self) -> None:
        """One object, whose name is the client's."""
        shown: Any = cast(ssl.SSLSocket, self.connection).getpeercert()
        names = dict(pair for entry in shown["subject"] for pair in entry)
        body = json.dumps({"metadata": {"name": names["commonName"]}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def authority(name: str) -> dict[str, Any]:
    """One that signs servers and clients."""
    return Authority().create(CTX, {"name": name, "days": 365})[1]


def signed(by: dict[str, Any], name: str, **more: Any) -> dict[str, Any]:
    """A certificate and its key."""
    news = {"names": [name], "days": 90, "authority": {part: by[part] for part in ("certificate", "private_key")}}
    return Certificate().create(CTX, {**news, **more})[1]


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    """The cluster's authority."""
    return authority("cluster")


@pytest.fixture(scope="module")
def server(ours: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one that lets in who has a certificate of the cluster's."""
    folder = tmp_path_factory.mktemp("server")
    own = signed(ours, "server", addresses=["127.0.0.1"])
    pem = folder / "server.pem"
    pem.write_text(own["certificate"] + own["private_key"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=ours["certificate"])
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pem)
    with ThreadingHTTPServer(("127.0.0.1", 0), WhoAreYou) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that everybody on a machine shares."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def kubeconfig(server: str, trusted: dict[str, Any], client: dict[str, Any]) -> dict[str, Any]:
    """As kubeadm writes one."""

    def data(pem: str) -> str:
        return base64.b64encode(pem.encode()).decode()

    cluster = {"server": server, "certificate-authority-data": data(trusted["certificate"])}
    user = {
        "client-certificate-data": data(client["certificate"]),
        "client-key-data": data(client["private_key"]),
    }
    return {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def name_of(config: dict[str, Any]) -> str:
    """Who the server thinks that the client is."""
    answer = Cluster(config).get(CONFIG_MAP, "default", "it", retry=0)
    assert answer is not None
    return str(answer["metadata"]["name"])


def test_a_client_is_who_its_certificate_says_and_no_file_of_it_is_left(
    server: str, ours: dict[str, Any], temporary: Path
) -> None:
    # The library remembers its files by their content: both have their authority in common, and the first comes twice.
    one, other = (kubeconfig(server, ours, signed(ours, name)) for name in ("one", "other"))
    for config, name in ((one, "one"), (other, "other"), (one, "one")):
        assert name_of(config) == name
        assert list(temporary.iterdir()) == []


def test_a_server_that_another_authority_signed_is_not_believed(server: str, ours: dict[str, Any]) -> None:
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        name_of(kubeconfig(server, authority("other"), signed(ours, "one")))


def test_a_server_at_a_name_that_is_not_in_its_certificate_is_not_believed(server: str, ours: dict[str, Any]) -> None:
    elsewhere = server.replace("127.0.0.1", "localhost")
    with pytest.raises(Unreachable, match="Hostname mismatch"):
        name_of(kubeconfig(elsewhere, ours, signed(ours, "one")))


def test_whom_a_kubeconfig_says_to_believe_unseen_is_believed(server: str, ours: dict[str, Any]) -> None:
    config = kubeconfig(server, ours, signed(ours, "one"))
    config["clusters"][0]["cluster"] = {"server": server, "insecure-skip-tls-verify": True}
    with pytest.warns(InsecureRequestWarning):
        assert name_of(config) == "one"
