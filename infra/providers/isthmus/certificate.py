"""Authority and Certificate: keys with certificates. A certificate is signed by an authority, or else by itself.

One that signed itself is for a server whose clients are told to trust it alone. Those of one authority know each other
by it, so that each of them can be made anew by itself, and one that comes later is known already.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar, Final

from infra.providers.isthmus.handler import UNKNOWN, Change, Context, input_changes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import CertificateBuilder

RENEW_DAYS: Final = 365
"""Left of the validity when the next `up` makes a new one: somebody runs it within a year."""
MOST_DAYS: Final = 3650
"""As kubeadm's own authorities."""
PARTS: Final = ("certificate", "private_key")
"""What a signer needs of an authority, both PEM."""


class _Made:
    """What both do alike: made once, kept in the engine's state, made anew when an input changes or a year is left."""

    outputs: ClassVar[tuple[str, ...]] = (*PARTS, "not_after")
    secrets: ClassVar[frozenset[str]] = frozenset({"private_key"})

    def diff(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> list[Change]:  # noqa: ARG002
        """Every input is part of it, and it ends."""
        changes = input_changes(olds, news, replace=frozenset(news))
        left = datetime.datetime.fromisoformat(olds["not_after"]) - datetime.datetime.now(datetime.UTC)
        if left < datetime.timedelta(days=RENEW_DAYS):
            changes.append(Change(path="not_after", kind="update", replace=True))
        return changes

    def read(self, ctx: Context, rid: str, state: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """It lives in the engine's state only, so it is always as recorded."""
        return state

    def update(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Nothing changes without a replacement."""
        return {**olds, **news}

    def delete(self, ctx: Context, rid: str, state: dict[str, Any]) -> None:
        """Gone with the state."""


class Authority(_Made):
    """Inputs: name (its subject), days (of validity).

    Outputs: certificate and private_key (both PEM), not_after (ISO 8601, UTC).
    """

    token: ClassVar[str] = "isthmus:secret:Authority"

    def check(self, news: dict[str, Any]) -> dict[str, str]:
        """Refuse one without a name, and a validity as Certificate does."""
        faults, name = _days_fault(news), news.get("name")
        if name is not UNKNOWN and not (isinstance(name, str) and name):
            faults["name"] = f"is {name!r}; it must be a text that says whose authority it is"
        return faults

    def create(self, ctx: Context, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        """It signs what serves or asks, and no authority below it."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        key, builder, end = _begun(news["name"], news["days"])
        signs = dict.fromkeys(("digital_signature", "key_cert_sign", "crl_sign"), True)
        other = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        usage = x509.KeyUsage(**signs, **dict.fromkeys((*other, "encipher_only", "decipher_only"), False))
        made = (
            builder.issuer_name(_subject(news["name"]))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return secrets.token_hex(8), {**news, **_pem(made, key), "not_after": end.isoformat()}


class Certificate(_Made):
    """Inputs: names (DNS names, the first is also the subject), days (of validity).

    Where an authority signs it also: authority (its certificate and private_key), and if need be addresses (IP
    addresses of the server). It is then a client's certificate as well as a server's, and does not outlive the
    authority.

    Outputs: certificate and private_key (both PEM), not_after (ISO 8601, UTC).
    """

    token: ClassVar[str] = "isthmus:secret:Certificate"

    def check(self, news: dict[str, Any]) -> dict[str, str]:
        """Refuse a certificate of nobody, and one that would be renewed at each run or outlive its authorities."""
        faults, names = {}, news.get("names")
        if names is not UNKNOWN and not (isinstance(names, list) and names):
            faults["names"] = f"is {names!r}; it must be a list of DNS names, one at least"
        faults |= _days_fault(news)
        if fault := _addresses_fault(news.get("addresses", [])):
            faults["addresses"] = fault
        authority = news.get("authority", UNKNOWN)
        if authority is not UNKNOWN and not (isinstance(authority, Mapping) and authority.keys() == set(PARTS)):
            # Without the value: there is a key in it.
            faults["authority"] = f"must have {' and '.join(PARTS)} of the authority that signs, and nothing else"
        return faults

    def create(self, ctx: Context, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        """P-256: the handshake is what a server that is asked seldom does most."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.x509.oid import ExtendedKeyUsageOID

        authority = news.get("authority")
        signer = _loaded(authority) if authority else None
        key, builder, end = _begun(
            news["names"][0], news["days"], until=signer[0].not_valid_after_utc if signer else None
        )
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in news["names"]]
        names += [x509.IPAddress(ip_address(one)) for one in news.get("addresses", [])]
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if signer else [])]
        builder = (
            builder.issuer_name(signer[0].subject if signer else _subject(news["names"][0]))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        )
        if signer:
            known = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer[1].public_key())
            builder = builder.add_extension(known, critical=False)
        made = builder.sign(signer[1] if signer else key, hashes.SHA256())
        return secrets.token_hex(8), {**news, **_pem(made, key), "not_after": end.isoformat()}


def _days_fault(news: dict[str, Any]) -> dict[str, str]:
    days = news.get("days")
    if days is UNKNOWN or (isinstance(days, int) and not isinstance(days, bool) and RENEW_DAYS < days <= MOST_DAYS):
        return {}
    return {"days": f"is {days!r}; it must be a whole number of days, more than {RENEW_DAYS}, at most {MOST_DAYS}"}


def _addresses_fault(addresses: Any) -> str:
    if addresses is UNKNOWN:
        return ""
    try:
        if isinstance(addresses, list):
            for one in addresses:
                if one is not UNKNOWN:
                    ip_address(str(one))
            return ""
    except ValueError:
        pass
    return f"is {addresses!r}; it must be a list of IP addresses"


# Loaded inside the functions: the library takes a moment, and most runs make none.
def _begun(
    subject: str, days: int, *, until: datetime.datetime | None = None
) -> tuple[EllipticCurvePrivateKey, CertificateBuilder, datetime.datetime]:
    """A new key, a certificate for it that says whose and until when, and that end, at the latest `until`."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    end = now + datetime.timedelta(days=days)
    if until:
        end = min(end, until)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour back, for hosts whose clocks are late.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(end)
    )
    return key, builder, end


def _subject(name: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _loaded(authority: Mapping[str, str]) -> tuple[Any, Any]:
    """Its certificate and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    certificate, key = (authority[part].encode() for part in PARTS)
    return x509.load_pem_x509_certificate(certificate), serialization.load_pem_private_key(key, password=None)


def _pem(made: Any, key: EllipticCurvePrivateKey) -> dict[str, str]:
    from cryptography.hazmat.primitives import serialization

    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return dict(zip(PARTS, (made.public_bytes(pem).decode(), secret.decode()), strict=True))
