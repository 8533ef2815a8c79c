"""What comes back by a restore, and what ends."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.ansible.etcd_backup.control_plane import KEYS, Host, answers, until

pytestmark = pytest.mark.mirror


def test_a_restore_brings_back_what_was_there_and_ends_what_came_after(host: Host) -> None:
    host.etcdctl("put", "/kept", "1")
    assert host.run("isthmus-backup-etcd").returncode == 0
    host.etcdctl("put", "/later", "1")
    old = _identity(host)

    done = host.run("isthmus-restore-etcd", str(host.backups[-1]))
    assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: answers(host), (host.root / "etcd.log").read_text()[-2000:])
    assert host.etcdctl("get", "", "--from-key", "--keys-only").split() == ["/kept"]
    assert "one" in host.etcdctl("member", "list")
    new = _identity(host)
    assert new["cluster_id"] != old["cluster_id"], "members of the old cluster would take it for theirs"
    assert new["revision"] > old["revision"] + 10**8, "who watches would take old news for new"
    assert (host.root / "data" / "member.before").exists()
    assert {path.name for path in host.manifests.iterdir()} == {"etcd.yaml", "kube-apiserver.yaml"}
    assert not (host.root / "data" / "restoring").exists()


def _identity(host: Host) -> dict[str, int]:
    header = host.etcdctl("get", "/kept", "-w", "fields")
    return {
        name: int(found[1])
        for name, key in (("cluster_id", "ClusterID"), ("revision", "Revision"))
        if (found := re.search(rf'"{key}" : (\d+)', header))
    }


def test_a_restore_of_a_damaged_backup_stops_nothing(host: Host) -> None:
    host.etcdctl("put", "/kept", "1")
    assert host.run("isthmus-backup-etcd").returncode == 0
    (backup,) = host.backups
    (backup / "snapshot.db.gz").write_bytes((backup / "snapshot.db.gz").read_bytes()[:-100])
    etcd = host.running["etcd"]

    assert host.run("isthmus-restore-etcd", str(backup)).returncode != 0
    assert host.running["etcd"] is etcd
    assert host.etcdctl("get", "/kept", "--print-value-only").strip() == "1"


def test_a_restore_without_a_name_says_which_there_are(host: Host) -> None:
    assert host.run("isthmus-backup-etcd").returncode == 0
    done = host.run("isthmus-restore-etcd")
    assert done.returncode != 0
    assert str(host.backups[0]) in done.stderr


def test_the_keys_unpack_where_they_were(host: Host, tmp_path: Path) -> None:
    assert host.run("isthmus-backup-etcd").returncode == 0
    new = tmp_path / "new"
    new.mkdir()
    subprocess.run(["tar", "-C", new, "-xf", host.backups[0] / "keys.tar"], check=True)
    for key in KEYS - {"pki/etcd/ca.crt"}:
        assert (new / key).read_text() == f"this is {key}"
