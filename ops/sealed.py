"""Opens a copy of a backup as role etcd_backup made it: a tar, signed by a control plane, sealed with a certificate."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

SIGNER = "kube-apiserver"
"""Whom kubeadm names so has a key that only control planes have."""


class Unsealable(Exception):
    """It was changed since, or sealed for another key."""


class Forged(Exception):
    """It opens, but no control plane of the cluster signed what is in it."""


def unseal(sealed: Path, packed: Path, private_key: str, authority: str | None) -> None:
    """Writes `packed`, the tar in it, and leaves other files beside it. `authority`: the cluster's certificate, in PEM;
    None believes any signer. Unsealable, Forged."""
    signed, signer, trusted = (packed.with_name(name) for name in ("signed", "signer.pem", "authority.pem"))
    # The key comes by standard input: it is on no disk and no command line.
    fault = _cms("-decrypt", sealed, signed, "-inkey", "/dev/stdin", given=private_key)
    if fault:
        raise Unsealable(fault)
    if authority is None:
        whom = ["-noverify"]
    else:
        trusted.write_text(authority)
        # The system's own authorities sign no control planes. A server's certificate is for no other purpose, and
        # renewed each year: a copy outlives it.
        whom = ["-CAfile", str(trusted), "-no-CApath", "-no-CAstore", "-purpose", "any", "-no_check_time"]
    fault = _cms("-verify", signed, packed, "-signer", str(signer), *whom)
    if fault:
        raise Forged(fault)
    if authority is not None and (name := _name(signer)) != SIGNER:
        raise Forged(f"it was signed by {name!r}")


def _cms(what: str, source: Path, target: Path, *arguments: str, given: str = "") -> str:
    """What openssl said, where it failed."""
    files = ("-in", str(source), "-out", str(target))
    done = subprocess.run(
        ["openssl", "cms", what, "-binary", "-inform", "DER", *files, *arguments],
        input=given,
        text=True,
        capture_output=True,
        check=False,
    )
    return done.stderr.strip() if done.returncode else ""


def _name(certificate: Path) -> str:
    subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
    return ", ".join(str(part.value) for part in subject.get_attributes_for_oid(NameOID.COMMON_NAME))
