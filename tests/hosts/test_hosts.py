"""What the roles promise of every host."""

from __future__ import annotations

import json
import tomllib

import pytest

from infra.naming import METRICS_PATH
from infra.paths import ROOT
from tests.ansible.conftest import role_yaml

BACKUPS = role_yaml("etcd_backup", "defaults/main.yml")["etcd_backup_folder"]
TOLD = f"{METRICS_PATH}/isthmus_etcd_backup.prom"


@pytest.mark.parametrize("unit", ["isthmus-firewall", "containerd", "kubelet", "haproxy", "keepalived"])
def test_unit_runs_and_starts_at_boot(host, unit: str) -> None:
    assert host.service(unit).is_running
    assert host.service(unit).is_enabled


def test_no_container_holds_its_hosts_shutdown_longer_than_kubernetes_gives_a_pod(host) -> None:
    scopes = host.check_output("systemctl list-units --plain --no-legend 'cri-containerd-*.scope' | cut -d' ' -f1")
    shown = host.check_output(f"systemctl show --property=TimeoutStopUSec --value {' '.join(scopes.split())}").split()
    assert len(shown) > 5 and set(shown) == {"30s"}


def test_the_holder_of_an_address_does_not_wait_for_a_processor(host) -> None:
    """A late advert looks like a dead holder; the address would move under load, and reset every connection."""
    assert "RR" in host.check_output("ps -C keepalived -o cls=").split()


def test_kubeadm_is_the_environments_version(host, settings) -> None:
    assert host.check_output("kubeadm version -o short") == settings.kubernetes.version


def test_a_host_finds_the_others_the_api_and_itself_without_dns(host, settings) -> None:
    expected = {one.name: str(one.address) for one in settings.onprem.hosts}
    expected |= {"api": str(settings.onprem.network.api_address), "localhost": "127.0.0.1"}
    told = host.check_output(f"getent --service=files ahostsv4 {' '.join(expected)}")
    lines = [line.split() for line in told.splitlines()]
    assert {line[2]: line[0] for line in lines if len(line) == 3} == expected


def test_certificate_renewal_has_a_timer(host) -> None:
    timers = host.check_output("systemctl list-timers --all --no-legend")
    assert "renew" in timers


def test_backups_of_etcd_have_a_timer(host) -> None:
    timer = host.service("isthmus-backup-etcd.timer")
    assert timer.is_running and timer.is_enabled
    due = host.check_output("systemctl list-timers --all --no-legend isthmus-backup-etcd.timer")
    assert due and not due.startswith(("n/a", "-"))


def test_a_backup_of_etcd_is_made_told_and_can_be_restored(host) -> None:
    began = int(host.check_output("date +%s"))
    # Earlier ones, which nobody made, show that the oldest go.
    earlier = [f"{BACKUPS}/2000010{day}T000000Z" for day in range(1, 10)]
    host.check_output(f"mkdir -p {' '.join(earlier)}")
    try:
        host.check_output("systemctl start isthmus-backup-etcd")  # as the timer does
        made = host.check_output(f"ls {BACKUPS}").split()
    finally:
        host.check_output(f"rm -rf {' '.join(earlier)}")
    keep = role_yaml("etcd_backup", "defaults/main.yml")["etcd_backup_keep"]
    assert len(made) == keep and "20000101T000000Z" not in made
    newest = f"{BACKUPS}/{max(made)}"
    for path, mode in ((BACKUPS, 0o700), (newest, 0o700), (f"{newest}/snapshot.db.gz", 0o600)):
        assert host.file(path).mode == mode, path
    held = host.check_output(f"tar -tf {newest}/keys.tar").split()
    assert {"isthmus/encryption.yaml", "pki/ca.key", "pki/etcd/ca.key"} <= set(held)

    told = dict(line.split() for line in host.file(TOLD).content_string.splitlines() if not line.startswith("#"))
    assert int(told["isthmus_etcd_backup_last_success_timestamp_seconds"]) >= began
    assert host.file(TOLD).mode == 0o644

    restored = host.check_output(f"""
        set -e; folder=$(mktemp -d); trap 'rm -r $folder' EXIT
        gzip -dc {newest}/snapshot.db.gz > $folder/snapshot.db
        etcdutl snapshot restore $folder/snapshot.db --data-dir $folder/new 2>/dev/null
        etcdutl snapshot status $folder/new/member/snap/db --write-out json""")
    assert json.loads(restored)["totalKey"] > 100


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


def test_containerd_merges_what_role_nvidia_adds_with_its_own_configuration(host) -> None:
    """No host of a lab has a GPU: the role's file lies in a copy of the host's folder, and the host stays as it is.

    What `config dump` says of imports is no proof: it names the default folder also where nothing of it is read.
    """
    added = (ROOT / "ansible" / "roles" / "nvidia" / "templates" / "containerd.toml.j2").read_text()
    script = f"""
        set -e; folder=$(mktemp -d); trap 'rm -r $folder' EXIT; mkdir $folder/conf.d
        cat > $folder/conf.d/50-nvidia.toml <<'END'
{added}
END
        sed "s#/etc/containerd/conf.d#$folder/conf.d#" /etc/containerd/config.toml > $folder/config.toml
        containerd --config $folder/config.toml config dump 2>/dev/null"""
    runtime = tomllib.loads(host.check_output(script))["plugins"]["io.containerd.cri.v1.runtime"]
    assert set(runtime["containerd"]["runtimes"]) == {"runc", "nvidia"}
    assert runtime["containerd"]["default_runtime_name"] == "runc"
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is True
    assert runtime["stats_collect_period"] == "10s", "the host's own settings are still there"
