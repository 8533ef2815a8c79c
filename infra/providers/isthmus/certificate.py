"""Certificate: a key and a certificate that it signed itself, for one whose peers are told to trust it alone."""

from __future__ import annotations

import datetime
import secrets
from typing import Any, ClassVar, Final

from infra.providers.isthmus.handler import UNKNOWN, Change, Context, input_changes

RENEW_DAYS: Final = 365
"""Left of the validity when the next `up` makes a new one: somebody runs it within a year."""
MOST_DAYS: Final = 3650
"""As kubeadm's own authorities."""
PURPOSES: Final = ("server", "client")


class Certificate:
    """Inputs: names (DNS names of the holder, the first is also the subject), days (of validity).

    And purpose, where it is not to prove a server to its clients but a client to its servers: "client".

    Outputs: certificate and private_key (both PEM), not_after (ISO 8601, UTC).
    """

    token: ClassVar[str] = "isthmus:secret:Certificate"
    outputs: ClassVar[tuple[str, ...]] = ("certificate", "private_key", "not_after")
    secrets: ClassVar[frozenset[str]] = frozenset({"private_key"})

    def check(self, news: dict[str, Any]) -> dict[str, str]:
        """Refuse a certificate of nobody, and one that would be renewed at each run or outlive its authorities."""
        faults, names, days = {}, news.get("names"), news.get("days")
        if names is not UNKNOWN and not (isinstance(names, list) and names):
            faults["names"] = f"is {names!r}; it must be a list of DNS names, one at least"
        if days is not UNKNOWN and (
            not isinstance(days, int) or isinstance(days, bool) or not RENEW_DAYS < days <= MOST_DAYS
        ):
            faults["days"] = (
                f"is {days!r}; it must be a whole number of days, more than {RENEW_DAYS}, at most {MOST_DAYS}"
            )
        purpose = news.get("purpose", PURPOSES[0])
        if purpose is not UNKNOWN and purpose not in PURPOSES:
            faults["purpose"] = f"is {purpose!r}; it must be one of {', '.join(PURPOSES)}"
        return faults

    def diff(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> list[Change]:  # noqa: ARG002
        """Every input is part of it, and it ends."""
        changes = input_changes(olds, news, replace=frozenset(news))
        left = datetime.datetime.fromisoformat(olds["not_after"]) - datetime.datetime.now(datetime.UTC)
        if left < datetime.timedelta(days=RENEW_DAYS):
            changes.append(Change(path="not_after", kind="update", replace=True))
        return changes

    def create(self, ctx: Context, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        """P-256: the handshake is what a server that is asked seldom does most."""
        # Here: it takes a moment to load, and most runs make none.
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, news["names"][0])])
        client = news.get("purpose") == "client"
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        # An hour back, for hosts whose clocks are late.
        start, end = now - datetime.timedelta(hours=1), now + datetime.timedelta(days=news["days"])
        made = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), start, end)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in news["names"]]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        outputs = {"certificate": made.public_bytes(pem).decode(), "private_key": secret.decode()}
        return secrets.token_hex(8), {**news, **outputs, "not_after": end.isoformat()}

    def read(self, ctx: Context, rid: str, state: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """It lives in the engine's state only, so it is always as recorded."""
        return state

    def update(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Nothing changes without a replacement."""
        return {**olds, **news}

    def delete(self, ctx: Context, rid: str, state: dict[str, Any]) -> None:
        """Gone with the state."""
