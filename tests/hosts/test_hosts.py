"""What the roles promise of every host."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("unit", ["containerd", "kubelet", "haproxy", "keepalived"])
def test_unit_runs_and_starts_at_boot(host, unit: str) -> None:
    assert host.service(unit).is_running
    assert host.service(unit).is_enabled


def test_kubeadm_is_the_environments_version(host, settings) -> None:
    assert host.check_output("kubeadm version -o short") == settings.kubernetes.version


def test_certificate_renewal_has_a_timer(host) -> None:
    timers = host.check_output("systemctl list-timers --all --no-legend")
    assert "renew" in timers


def test_the_audit_log_is_written(host) -> None:
    assert host.file("/var/log/kubernetes/audit.log").size > 0


def test_private_keys_are_for_root_only(host) -> None:
    keys = host.check_output("find /etc/kubernetes -name '*.key' -o -name 'encryption*' -type f").split()
    assert keys
    for key in keys:
        assert host.file(key).user == "root"
        assert host.file(key).mode & 0o077 == 0, key


def test_images_come_through_the_mirror(host, settings) -> None:
    found = host.check_output("cat /etc/containerd/certs.d/registry.k8s.io/hosts.toml")
    assert f"http://{settings.onprem.network.mirror_address}:5000/v2/registry.k8s.io" in found


def test_the_control_plane_answers_on_the_host_itself(host) -> None:
    assert host.check_output("curl -sk https://127.0.0.1:6443/readyz") == "ok"
