"""A host with both scripts, and etcd in the place of its static pod."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.artifacts import Index
from ops.mirror.sync import sync
from tests.ansible.etcd_backup.control_plane import CURVE, KEYS, Host, answers, until
from tests.ports import free_ports


@pytest.fixture
def host(tmp_path: Path, render: Callable[..., str]) -> Iterator[Host]:
    client, peer, api = free_ports(3)
    host = Host(root=tmp_path, client=client, peer=peer, api=api)
    for folder in ("bin", "metrics", "kubernetes/manifests", "kubernetes/isthmus", "kubernetes/pki/etcd"):
        (tmp_path / folder).mkdir(parents=True)
    tools = ("etcd", "etcdctl", "etcdutl")
    sync(tools)
    for tool in tools:
        (tmp_path / "bin" / tool).symlink_to(Index.load().artifact(tool).local)
    host.values = {
        "etcd_backup_bin_dir": str(tmp_path / "bin"),
        "etcd_backup_folder": str(tmp_path / "backups"),
        "etcd_backup_metrics_folder": str(tmp_path / "metrics"),
        "etcd_backup_keep": host.keep,
        "__etcd_backup_kubernetes": str(host.kubernetes),
        "__etcd_backup_data": str(tmp_path / "data"),
        "__etcd_backup_endpoint": f"https://127.0.0.1:{client}",
        "__etcd_backup_api": f"http://127.0.0.1:{api}",
    }
    for script in ("isthmus-backup-etcd", "isthmus-restore-etcd"):
        host.install(script, render("etcd_backup", f"{script}.sh.j2", **host.values))
    for key in KEYS:
        (host.kubernetes / key).write_text(f"this is {key}")
    pki = host.kubernetes / "pki" / "etcd"
    subject = ["-subj", "/CN=etcd", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    made = ["-keyout", pki / "server.key", "-out", pki / "server.crt"]
    subprocess.run(["openssl", "req", "-x509", *CURVE, *subject, *made], capture_output=True, check=True)
    (pki / "ca.crt").write_bytes((pki / "server.crt").read_bytes())
    (host.manifests / "etcd.yaml").write_text(
        f"    - etcd\n    - --name=one\n    - --initial-advertise-peer-urls=http://127.0.0.1:{peer}\n"
    )
    (host.manifests / "kube-apiserver.yaml").write_text("    - kube-apiserver\n")
    kubelet = threading.Thread(target=host.keep_running)
    kubelet.start()
    try:
        until(lambda: answers(host), "etcd does not start")
        yield host
    finally:
        host.over.set()
        kubelet.join()
        for name in list(host.running):
            host.stop(name)
