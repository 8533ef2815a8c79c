"""What a backup is: whole, for root alone, told, and never a half."""

from __future__ import annotations

import os
import signal
import subprocess
import tarfile
import time

import pytest

from tests.ansible.etcd_backup.control_plane import KEYS, Host, told, until

pytestmark = pytest.mark.mirror


def test_a_backup_is_whole_for_root_alone_and_told(host: Host) -> None:
    host.etcdctl("put", "/a", "1")
    began = int(time.time())
    done = host.run("isthmus-backup-etcd")
    assert done.returncode == 0, done.stderr

    (backup,) = host.backups
    assert {path.name for path in backup.iterdir()} == {"snapshot.db.gz", "keys.tar"}
    for path in (backup.parent, backup):
        assert path.stat().st_mode & 0o777 == 0o700, path
    for path in backup.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path
    with tarfile.open(backup / "keys.tar") as tar:
        assert set(tar.getnames()) == KEYS
    assert host.metrics.stat().st_mode & 0o777 == 0o644, "the node exporter is nobody there"
    values = told(host)
    assert began <= values["isthmus_etcd_backup_last_success_timestamp_seconds"] <= time.time()
    assert values["isthmus_etcd_backup_size_bytes"] == sum(path.stat().st_size for path in backup.iterdir())


def test_the_newest_stay(host: Host) -> None:
    made = []
    for _ in range(host.keep + 2):
        assert host.run("isthmus-backup-etcd").returncode == 0
        made.append(host.backups[-1])
    assert len(set(made)) == host.keep + 2
    assert host.backups == made[-host.keep :]


def test_a_run_that_fails_leaves_the_earlier_ones_and_no_half(host: Host) -> None:
    assert host.run("isthmus-backup-etcd").returncode == 0
    before, told = host.backups, host.metrics.read_text()
    (host.kubernetes / "pki" / "sa.key").unlink()
    (host.root / "backups" / ".unfinished").mkdir()

    assert host.run("isthmus-backup-etcd").returncode != 0
    assert host.backups == before
    assert {path.name for path in (host.root / "backups").iterdir()} == {before[0].name, ".lock"}
    assert host.metrics.read_text() == told
    assert [path.name for path in host.metrics.parent.iterdir()] == [host.metrics.name]


def test_a_snapshot_that_is_damaged_is_no_backup(host: Host) -> None:
    """etcdctl is one that loses a bit in the middle of what it writes."""
    real = (host.root / "bin" / "etcdctl").readlink()
    (host.root / "bin" / "etcdctl").unlink()
    flip = 'printf "\\377" | dd of="${@: -1}" bs=1 seek=9000 conv=notrunc status=none'
    (host.root / "bin" / "etcdctl").write_text(f'#!/bin/bash\n"{real}" "$@" && [[ "$*" != *" save "* ]] || {flip}\n')
    (host.root / "bin" / "etcdctl").chmod(0o755)

    done = host.run("isthmus-backup-etcd")
    assert done.returncode != 0
    assert "its sum is wrong" in done.stderr
    assert host.backups == []
    assert not host.metrics.exists()


def test_an_etcd_that_is_away_is_not_waited_for_without_end(host: Host) -> None:
    (host.manifests / "etcd.yaml").unlink()
    until(lambda: "etcd" not in host.running, "etcd does not end")
    assert host.run("isthmus-backup-etcd").returncode != 0
    assert host.backups == []


def test_a_run_that_is_stopped_leaves_no_half(host: Host) -> None:
    (host.root / "bin" / "etcdutl").unlink()
    (host.root / "bin" / "etcdutl").write_text("#!/bin/bash\nsleep 60\n")
    (host.root / "bin" / "etcdutl").chmod(0o755)
    run = subprocess.Popen([host.root / "bin" / "isthmus-backup-etcd"], start_new_session=True)
    until((host.root / "backups" / ".unfinished" / "snapshot.db").exists, "there is no snapshot")
    os.killpg(run.pid, signal.SIGTERM)  # as systemd does
    assert run.wait(30) != 0
    assert [path.name for path in (host.root / "backups").iterdir()] == [".lock"]


def test_two_at_once_take_turns(host: Host) -> None:
    runs = [subprocess.Popen([host.root / "bin" / "isthmus-backup-etcd"], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [run.wait(120) for run in runs] == [0, 0]
    assert len(host.backups) == 2
