"""A kubeconfig near its end is a reason for a run, which fetches the one that its host has renewed."""

from __future__ import annotations

import base64
import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.paths import ROOT
from infra.providers.isthmus.kubeconfig import RENEW_DAYS, days_left
from infra.providers.isthmus.playbook import Playbook
from infra.providers.isthmus.playbook_diff import changed_hosts
from tests.providers.test_playbook_local import HERE, Spoken, context, converged, inputs

__all__ = ["inputs"]


def kubeconfig(*days: int) -> str:
    """With a user for each, whose certificate has that many days left and an hour."""
    users = [{"name": f"user-{left}", "user": {"client-certificate-data": _certificate(left)}} for left in days]
    return yaml.safe_dump({"kind": "Config", "clusters": [], "users": users})


def _certificate(days: int) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes-admin")])
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days, hours=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=365))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


@pytest.mark.parametrize(("days", "left"), [((365,), 365), ((40, 365), 40), ((-1,), -1)])
def test_the_first_certificate_that_ends_counts(days: tuple[int, ...], left: int) -> None:
    assert days_left(kubeconfig(*days)) == left


WITHOUT = {
    "nothing": None,
    "text": "server of hello",
    "no YAML": "{",
    "a tag": "!what {}",
    "a token": yaml.safe_dump({"users": [{"name": "a", "user": {"token": "b"}}]}),
    "a command": yaml.safe_dump({"users": [{"name": "aws", "user": {"exec": {"command": "aws"}}}]}),
    "nobody": yaml.safe_dump({"users": None}),
    "no base64": yaml.safe_dump({"users": [{"user": {"client-certificate-data": "%"}}]}),
    "no certificate": yaml.safe_dump({"users": [{"user": {"client-certificate-data": "aGVsbG8="}}]}),
    "a number": yaml.safe_dump({"users": [{"user": {"client-certificate-data": 1}}]}),
}


@pytest.mark.parametrize("text", WITHOUT.values(), ids=WITHOUT)
def test_of_what_has_no_certificate_nothing_is_said(text: Any, inputs: dict[str, Any]) -> None:
    assert days_left(text) is None
    assert Playbook().diff(context(), "site", {**converged(inputs), "results": {"kubeconfig": text}}, inputs) == []


@pytest.mark.parametrize("results", [None, {}], ids=["none", "no kubeconfig"])
def test_a_state_without_a_kubeconfig_is_no_fault(results: Any, inputs: dict[str, Any]) -> None:
    assert Playbook().diff(context(), "site", {**converged(inputs), "results": results}, inputs) == []


def test_a_host_has_renewed_its_own_before_the_copy_of_it_is_asked_for_anew() -> None:
    role = yaml.safe_load((ROOT / "ansible" / "roles" / "certificate_renewal" / "defaults" / "main.yml").read_text())
    assert role["certificate_renewal_days"] >= RENEW_DAYS + 7, "else the run would fetch the old one again"


PLAY = """
- hosts: "{{ isthmus_changed_hosts }}"
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        dest: "{{ isthmus_outputs }}/kubeconfig"
        content: "{{ lookup('file', target ~ '/admin.conf') }}"
        mode: "0600"
"""


@pytest.mark.parametrize(
    ("days", "said"), [(RENEW_DAYS - 1, f"ends in {RENEW_DAYS - 1} days"), (0, "ends in 0 days"), (-3, "has ended")]
)
def test_a_run_fetches_the_renewed_one_and_the_next_up_has_nothing_to_do(
    days: int, said: str, inputs: dict[str, Any]
) -> None:
    (Path(inputs["folder"]) / "site.yml").write_text(PLAY)
    state = {**converged(inputs), "results": {"kubeconfig": kubeconfig(days)}}
    (change,) = Playbook().diff(context(), "site", state, inputs)
    assert (change.path, change.kind, change.detail) == ("results", "update", f"the kubeconfig {said}")
    renewed = kubeconfig(364)
    (Path(inputs["variables"]["target"]) / "admin.conf").write_text(renewed)
    log = Spoken()
    after = Playbook().update(context(log), "site", state, {**inputs, "timeout_s": 121})
    assert after["results"]["kubeconfig"].strip() == renewed.strip()
    assert not any(kind == "warning" for kind, _message in log.lines)
    assert Playbook().diff(context(), "site", after, {**inputs, "timeout_s": 121}) == []


@pytest.mark.parametrize("days", [RENEW_DAYS, 365])
def test_one_that_lasts_is_no_change(days: int, inputs: dict[str, Any]) -> None:
    state = {**converged(inputs), "results": {"kubeconfig": kubeconfig(days)}}
    assert Playbook().diff(context(), "site", state, inputs) == []


def test_beside_a_new_host_the_run_is_about_all_so_that_somebody_hands_it_back(inputs: dict[str, Any]) -> None:
    wider = {**inputs, "inventory": {**inputs["inventory"], "worker": {"hosts": {"there": HERE}}}}
    state = {**converged(inputs), "results": {"kubeconfig": kubeconfig(10)}}
    assert changed_hosts(state, wider) == ["here", "there"]
    assert changed_hosts({**state, "results": {"kubeconfig": kubeconfig(365)}}, wider) == ["there"]


def test_a_host_that_did_not_renew_its_own_is_told_of(inputs: dict[str, Any]) -> None:
    (Path(inputs["folder"]) / "site.yml").write_text(PLAY)
    state = {**converged(inputs), "results": {"kubeconfig": kubeconfig(10)}}
    (Path(inputs["variables"]["target"]) / "admin.conf").write_text(kubeconfig(10))
    log = Spoken()
    after = Playbook().update(context(log), "site", state, inputs)
    assert after["completed"] is True
    assert any(kind == "warning" and "ends in 10 days, also on the host" in message for kind, message in log.lines)
