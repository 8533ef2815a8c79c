"""Certificate: what it refuses, what a client can verify of it, and when it is made anew."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from infra.providers.isthmus.certificate import RENEW_DAYS, Certificate
from infra.providers.isthmus.handler import UNKNOWN, Context
from infra.providers.isthmus.log import EngineLog

CTX = Context(urn="", preview=False, log=EngineLog())
INPUTS: dict[str, Any] = {"names": ["server.there.svc", "server"], "days": 3650}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return Certificate().create(CTX, INPUTS)[1]


@pytest.mark.parametrize(
    ("changed", "key"),
    [({"names": []}, "names"), ({"names": "server"}, "names"), ({"purpose": "both"}, "purpose")]
    + [({"days": days}, "days") for days in (RENEW_DAYS, 3651, "400", True, 400.5)],
)
def test_it_refuses_what_would_be_no_certificate(changed: dict[str, Any], key: str) -> None:
    assert list(Certificate().check({**INPUTS, **changed})) == [key]


def test_it_takes_what_is_right_or_not_known_yet() -> None:
    assert Certificate().check(INPUTS) == {}
    assert Certificate().check({**INPUTS, "purpose": "client"}) == {}
    assert Certificate().check({**dict.fromkeys(INPUTS, UNKNOWN), "purpose": UNKNOWN}) == {}


def handshake(made: dict[str, Any], folder: Path, *, asked: str, trusted: str) -> str:
    """A TLS handshake with a server that has the certificate; an empty text, or why the client refused it."""
    (folder / "server.pem").write_text(made["private_key"] + made["certificate"])
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "server.pem")
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        ssl.create_default_context(cadata=trusted).wrap_socket(ours, server_hostname=asked).close()
        return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        ours.close()
        thread.join()


def test_a_client_that_is_told_of_it_verifies_it_by_each_name(made: dict[str, Any], tmp_path: Path) -> None:
    for name in INPUTS["names"]:
        assert handshake(made, tmp_path, asked=name, trusted=made["certificate"]) == ""


def test_another_name_or_another_certificate_is_refused(made: dict[str, Any], tmp_path: Path) -> None:
    assert "mismatch" in handshake(made, tmp_path, asked="other.there.svc", trusted=made["certificate"])
    other = Certificate().create(CTX, INPUTS)[1]
    assert handshake(made, tmp_path, asked="server", trusted=other["certificate"])


def test_a_clients_certificate_proves_no_server(tmp_path: Path) -> None:
    client = Certificate().create(CTX, {**INPUTS, "purpose": "client"})[1]
    assert "purpose" in handshake(client, tmp_path, asked="server", trusted=client["certificate"])


def test_it_is_made_anew_for_other_names_and_a_year_before_its_end(made: dict[str, Any]) -> None:
    certificate = Certificate()
    assert certificate.diff(CTX, "", made, INPUTS) == []
    (change,) = certificate.diff(CTX, "", made, {**INPUTS, "names": ["other"]})
    assert (change.path, change.replace) == ("names", True)
    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=RENEW_DAYS - 1)
    (change,) = certificate.diff(CTX, "", {**made, "not_after": late.isoformat()}, INPUTS)
    assert (change.path, change.replace) == ("not_after", True)


def test_only_the_key_is_secret(made: dict[str, Any]) -> None:
    assert Certificate.secrets == {"private_key"}
    assert "PRIVATE KEY" in made["private_key"]
    assert "PRIVATE" not in made["certificate"]
