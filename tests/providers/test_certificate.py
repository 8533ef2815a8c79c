"""Certificate and Authority: what they refuse, what the other end can verify of them, and when they are made anew."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from infra.providers.isthmus.certificate import RENEW_DAYS, Authority, Certificate
from infra.providers.isthmus.handler import UNKNOWN, Context
from infra.providers.isthmus.log import EngineLog

CTX = Context(urn="", preview=False, log=EngineLog())
INPUTS: dict[str, Any] = {"names": ["server.there.svc", "server"], "days": 3650}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return Certificate().create(CTX, INPUTS)[1]


@pytest.mark.parametrize(
    ("changed", "key"),
    [({"names": []}, "names"), ({"names": "server"}, "names")]
    + [({"days": days}, "days") for days in (RENEW_DAYS, 3651, "400", True, 400.5)],
)
def test_it_refuses_what_would_be_no_certificate(changed: dict[str, Any], key: str) -> None:
    assert list(Certificate().check({**INPUTS, **changed})) == [key]


def test_it_takes_what_is_right_or_not_known_yet() -> None:
    assert Certificate().check(INPUTS) == {}
    assert Certificate().check(dict.fromkeys(INPUTS, UNKNOWN)) == {}


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


AUTHORITY: dict[str, Any] = {"name": "isthmus-mesh", "days": 3650}


def signer(authority: dict[str, Any]) -> dict[str, str]:
    """What a certificate is told of its authority."""
    return {part: authority[part] for part in ("certificate", "private_key")}


@pytest.fixture(scope="module")
def authority() -> dict[str, Any]:
    return Authority().create(CTX, AUTHORITY)[1]


def signed(authority: dict[str, Any], *names: str, **inputs: Any) -> dict[str, Any]:
    news = {"names": list(names), "days": 3650, "authority": signer(authority), **inputs}
    assert Certificate().check(news) == {}
    return Certificate().create(CTX, news)[1]


def met(server: dict[str, Any], client: dict[str, Any], trusted: str, folder: Path, *, asked: str) -> str | None:
    """Each shows its certificate and trusts the authority alone; the client's name as the server sees it, or None."""
    for name, one in (("server", server), ("client", client)):
        (folder / f"{name}.pem").write_text(one["private_key"] + one["certificate"])
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=trusted)
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_cert_chain(folder / "server.pem")
    asking = ssl.create_default_context(cadata=trusted)
    asking.load_cert_chain(folder / "client.pem")
    ours, theirs = socket.socketpair()
    seen: list[str] = []

    def answer() -> None:
        try:
            with serving.wrap_socket(theirs, server_side=True) as one:
                ((_, name),) = one.getpeercert()["subject"][0]  # type: ignore[index]
                one.sendall(name.encode())
        except OSError:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with asking.wrap_socket(ours, server_hostname=asked) as one:
            # TLS 1.3 tells a client only with the first answer that it was refused.
            seen.append(one.recv(64).decode())
    except (ssl.SSLError, ConnectionError):
        pass
    finally:
        ours.close()
        thread.join()
    return seen[0] if seen and seen[0] else None


def test_those_of_one_authority_know_each_other_by_name_and_address(authority: dict[str, Any], tmp_path: Path) -> None:
    server = signed(authority, "mesh.kube-system.svc", addresses=["127.0.0.1", "10.90.0.101"])
    client = signed(authority, "remote")
    for asked in ("mesh.kube-system.svc", "127.0.0.1", "10.90.0.101"):
        assert met(server, client, authority["certificate"], tmp_path, asked=asked) == "remote"
    assert met(server, client, authority["certificate"], tmp_path, asked="10.90.0.102") is None


def test_a_name_may_stand_for_all_of_a_domain(authority: dict[str, Any], tmp_path: Path) -> None:
    server, client = signed(authority, "mesh", "*.elb.there.example"), signed(authority, "remote")
    assert met(server, client, authority["certificate"], tmp_path, asked="a-1.elb.there.example") == "remote"
    assert met(server, client, authority["certificate"], tmp_path, asked="there.example") is None


def test_those_of_another_authority_are_refused_on_either_side(authority: dict[str, Any], tmp_path: Path) -> None:
    other = Authority().create(CTX, AUTHORITY)[1]
    server, client = signed(authority, "mesh"), signed(authority, "remote")
    trusted = authority["certificate"]
    assert met(server, signed(other, "remote"), trusted, tmp_path, asked="mesh") is None
    assert met(signed(other, "mesh"), client, trusted, tmp_path, asked="mesh") is None
    assert met(server, client, trusted, tmp_path, asked="mesh") == "remote"


def test_a_certificate_signs_no_other(authority: dict[str, Any], tmp_path: Path) -> None:
    member = signed(authority, "remote")
    forged = signed(member, "mesh")
    chained = {**forged, "certificate": forged["certificate"] + member["certificate"]}
    assert met(chained, member, authority["certificate"], tmp_path, asked="mesh") is None


def test_it_does_not_outlive_its_authority_and_is_made_anew_with_it(authority: dict[str, Any]) -> None:
    short = Authority().create(CTX, {**AUTHORITY, "days": RENEW_DAYS + 1})[1]
    assert signed(short, "remote")["not_after"] == short["not_after"]
    inputs = {"names": ["remote"], "days": 3650, "authority": signer(authority)}
    made = Certificate().create(CTX, inputs)[1]
    assert Certificate().diff(CTX, "", made, inputs) == []
    (change,) = Certificate().diff(CTX, "", made, {**inputs, "authority": signer(short)})
    assert (change.path, change.replace) == ("authority", True)


@pytest.mark.parametrize(
    ("changed", "key"),
    [({"addresses": value}, "addresses") for value in ("10.0.0.1", ["10.0.0"], ["server"])]
    + [({"authority": value}, "authority") for value in ({}, "pem", {"certificate": "pem"})],
)
def test_it_refuses_what_no_authority_could_sign(changed: dict[str, Any], key: str) -> None:
    assert list(Certificate().check({**INPUTS, **changed})) == [key]
    assert Certificate().check({**INPUTS, key: UNKNOWN}) == {}


@pytest.mark.parametrize(("changed", "key"), [({"name": ""}, "name"), ({"name": 1}, "name"), ({"days": 1}, "days")])
def test_an_authority_of_nobody_or_for_too_short_is_refused(changed: dict[str, Any], key: str) -> None:
    assert list(Authority().check({**AUTHORITY, **changed})) == [key]
    assert Authority().check(dict.fromkeys(AUTHORITY, UNKNOWN)) == {}


def test_an_authority_is_made_anew_a_year_before_its_end(authority: dict[str, Any]) -> None:
    assert Authority().diff(CTX, "", authority, AUTHORITY) == []
    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=RENEW_DAYS - 1)
    (change,) = Authority().diff(CTX, "", {**authority, "not_after": late.isoformat()}, AUTHORITY)
    assert (change.path, change.replace) == ("not_after", True)
    assert Authority.secrets == {"private_key"}
    assert "PRIVATE" not in authority["certificate"]
