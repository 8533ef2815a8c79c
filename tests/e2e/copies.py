"""Backups of etcd as the on-prem hosts make them, and their copies in the other site's bucket."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ops import machines
from tests.ansible.conftest import role_yaml
from tests.e2e.both_sites import wait_for

FOLDER = role_yaml("etcd_backup", "defaults/main.yml")["etcd_backup_folder"]
COPIED_S = 180.0
"""Longest that a copy may take to the other site, where somebody looks once a minute."""


def back_up(host: str) -> str:
    """Has the host make a backup now, and send it if it sends any; the backup's folder there."""
    machines.run(host, "systemctl", "start", "isthmus-backup-etcd")
    return machines.run(host, "sh", "-c", f"ls -d {FOLDER}/[0-9]*Z | tail -n 1").strip()


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def name_of_copy(s3: Any, host: str) -> str:
    """The name of the backup that the other site's newest copy is of; empty while it has none."""
    (bucket,) = [one["Name"] for one in s3.list_buckets()["Buckets"] if one["Name"].startswith("backups")]
    with suppress(s3.exceptions.ClientError):  # not found
        taken = int(s3.head_object(Bucket=bucket, Key=f"etcd/{host}.cms")["Metadata"]["taken"])
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(taken))
    return ""


def wait_for_copy(s3: Any, host: str, backup: str) -> float:
    """Until the other site has a copy of the host's backup of that name; seconds."""
    return wait_for(f"a copy of {host}'s {backup}", lambda: name_of_copy(s3, host) == backup, COPIED_S)
