"""The scripts of role etcd_backup, as on a host, against a real etcd: what they keep, and that it comes back."""

from __future__ import annotations

import hashlib
import http.server
import os
import re
import signal
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from infra.artifacts import Index
from ops.mirror.sync import sync

pytestmark = pytest.mark.mirror

KEYS = {
    "isthmus/encryption.yaml",
    *(f"pki/{name}" for name in ("ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.pub", "sa.key")),
    *(f"pki/etcd/{name}" for name in ("ca.crt", "ca.key")),
}
TLS = ["--trusted-ca-file", "--cert-file", "--key-file"]
PATIENCE_S = 60


@dataclass
class Host:
    """A control plane, as far as the scripts see one: folders, a member of etcd, and who keeps static pods running."""

    root: Path
    client: int
    peer: int
    api: int
    keep: int = 3
    running: dict[str, subprocess.Popen[bytes] | http.server.HTTPServer] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    values: dict[str, object] = field(default_factory=dict)
    """The role's variables."""

    def install(self, script: str, text: str) -> None:
        path = self.root / "bin" / script
        path.write_text(text)
        path.chmod(0o755)

    @property
    def kubernetes(self) -> Path:
        return self.root / "kubernetes"

    @property
    def manifests(self) -> Path:
        return self.kubernetes / "manifests"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics" / "isthmus_etcd_backup.prom"

    @property
    def backups(self) -> list[Path]:
        return sorted((self.root / "backups").glob("[0-9]*"))

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "bin" / program, *arguments], capture_output=True, text=True, timeout=180, check=False
        )

    def etcdctl(self, *arguments: str) -> str:
        pki = self.kubernetes / "pki" / "etcd"
        options = [f"--cacert={pki}/ca.crt", f"--cert={pki}/server.crt", f"--key={pki}/server.key"]
        done = self.run("etcdctl", f"--endpoints=https://127.0.0.1:{self.client}", *options, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keep_running(self) -> None:
        """As the kubelet does: what has a manifest runs, and what has none does not."""
        while not self.over.wait(0.1):
            for name, start in (("etcd", self._etcd), ("kube-apiserver", self._api)):
                wanted = (self.manifests / f"{name}.yaml").exists()
                if wanted and name not in self.running:
                    self.running[name] = start()
                elif not wanted and name in self.running:
                    self.stop(name)

    def stop(self, name: str) -> None:
        process = self.running[name]
        if isinstance(process, subprocess.Popen):
            process.terminate()
            process.wait(30)
        else:
            process.shutdown()
            process.server_close()
        del self.running[name]

    def _etcd(self) -> subprocess.Popen[bytes]:
        pki = self.kubernetes / "pki" / "etcd"
        names = re.findall(r"- (--.+)", (self.manifests / "etcd.yaml").read_text())
        files = [
            f"{option}={pki / name}" for option, name in zip(TLS, ("ca.crt", "server.crt", "server.key"), strict=True)
        ]
        url = f"https://127.0.0.1:{self.client}"
        listen = [f"--listen-client-urls={url}", f"--advertise-client-urls={url}", f"--data-dir={self.root}/data"]
        peers = [
            f"--listen-peer-urls=http://127.0.0.1:{self.peer}",
            f"--initial-cluster=one=http://127.0.0.1:{self.peer}",
        ]
        with (self.root / "etcd.log").open("ab") as log:
            return subprocess.Popen(
                [self.root / "bin" / "etcd", *names, *listen, *peers, *files, "--client-cert-auth"],
                stdout=log,
                stderr=log,
            )

    def _api(self) -> http.server.HTTPServer:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.api), Ready)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


class Ready(http.server.BaseHTTPRequestHandler):
    """An API server that is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def _until(true: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


@pytest.fixture
def host(tmp_path: Path, render: Callable[..., str]) -> Iterator[Host]:
    client, peer, api = _free_ports(3)
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
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", *curve, *subject, *made], capture_output=True, check=True)
    (pki / "ca.crt").write_bytes((pki / "server.crt").read_bytes())
    (host.manifests / "etcd.yaml").write_text(
        f"    - etcd\n    - --name=one\n    - --initial-advertise-peer-urls=http://127.0.0.1:{peer}\n"
    )
    (host.manifests / "kube-apiserver.yaml").write_text("    - kube-apiserver\n")
    kubelet = threading.Thread(target=host.keep_running)
    kubelet.start()
    try:
        _until(lambda: _answers(host), "etcd does not start")
        yield host
    finally:
        host.over.set()
        kubelet.join()
        for name in list(host.running):
            host.stop(name)


def _answers(host: Host) -> bool:
    with suppress(AssertionError):
        host.etcdctl("--command-timeout=1s", "endpoint", "health")
        return True
    return False


def _told(host: Host) -> dict[str, float]:
    lines = host.metrics.read_text().splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines if not line.startswith("#"))}


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
    told = _told(host)
    assert began <= told["isthmus_etcd_backup_last_success_timestamp_seconds"] <= time.time()
    assert told["isthmus_etcd_backup_size_bytes"] == sum(path.stat().st_size for path in backup.iterdir())


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
    _until(lambda: "etcd" not in host.running, "etcd does not end")
    assert host.run("isthmus-backup-etcd").returncode != 0
    assert host.backups == []


def test_a_run_that_is_stopped_leaves_no_half(host: Host) -> None:
    (host.root / "bin" / "etcdutl").unlink()
    (host.root / "bin" / "etcdutl").write_text("#!/bin/bash\nsleep 60\n")
    (host.root / "bin" / "etcdutl").chmod(0o755)
    run = subprocess.Popen([host.root / "bin" / "isthmus-backup-etcd"], start_new_session=True)
    _until((host.root / "backups" / ".unfinished" / "snapshot.db").exists, "there is no snapshot")
    os.killpg(run.pid, signal.SIGTERM)  # as systemd does
    assert run.wait(30) != 0
    assert [path.name for path in (host.root / "backups").iterdir()] == [".lock"]


def test_two_at_once_take_turns(host: Host) -> None:
    runs = [subprocess.Popen([host.root / "bin" / "isthmus-backup-etcd"], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [run.wait(120) for run in runs] == [0, 0]
    assert len(host.backups) == 2


@dataclass
class Store:
    """The S3 store that takes copies, and what opens them."""

    client: Any
    key: Path

    def object(self) -> tuple[bytes, dict[str, str]]:
        found = self.client.get_object(Bucket="backups", Key="etcd/one.cms")
        return found["Body"].read(), found["Metadata"]

    def opened(self, folder: Path) -> Path:
        """The backup in the copy."""
        sealed, packed = folder / "sealed", folder / "packed"
        sealed.write_bytes(self.object()[0])
        decrypt = ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", sealed, "-inkey", self.key]
        subprocess.run([*decrypt, "-out", packed], check=True)
        subprocess.run(["tar", "-C", folder, "-xf", packed], check=True)
        (backup,) = folder.glob("[0-9]*Z")
        return backup


@pytest.fixture
def store(host: Host, render: Callable[..., str], tmp_path: Path) -> Iterator[Store]:
    """The host sends its backups to a store; its kubectl gives the key, and notes what it was asked."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    made = ["-keyout", tmp_path / "seal.key", "-out", tmp_path / "seal.crt", "-subj", "/CN=backups", "-days", "1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", *curve, *made], capture_output=True, check=True)
    place = {
        "url": url,
        "region": "garage",
        "bucket": "backups",
        "namespace": "object-store",
        "secret": "backups-credentials",
        "certificate": (tmp_path / "seal.crt").read_text(),
    }
    text = render("etcd_backup", "isthmus-backup-etcd.sh.j2", **host.values, etcd_backup_store=place)
    host.install("isthmus-backup-etcd", text.replace("--retry-delay 15", "--retry-delay 1"))
    host.install("kubectl", f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nprintf %s GK1:secret-of-the-store\n')
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket="backups")
    yield Store(client=client, key=tmp_path / "seal.key")
    httpx.post(f"{url}/moto-api/reset").raise_for_status()  # what moto holds outlives its servers
    server.stop()


def test_a_copy_goes_to_the_store_sealed_and_says_what_it_is(host: Host, store: Store, tmp_path: Path) -> None:
    host.etcdctl("put", "/a", "1")
    done = host.run("isthmus-backup-etcd")
    assert done.returncode == 0, done.stderr
    (backup,) = host.backups
    sealed, metadata = store.object()
    taken = int(_told(host)["isthmus_etcd_backup_last_success_timestamp_seconds"])
    assert metadata == {"sha256": hashlib.sha256(sealed).hexdigest(), "taken": str(taken)}
    for plain in (b"keys.tar", b"snapshot", b"this is pki/ca.key"):
        assert plain not in sealed
    there = tmp_path / "there"
    there.mkdir()
    opened = store.opened(there)
    assert opened.name == backup.name
    for name in ("snapshot.db.gz", "keys.tar"):
        assert (opened / name).read_bytes() == (backup / name).read_bytes()
    assert not (host.root / "backups" / ".sealed").exists()
    assert "secret-of-the-store" not in done.stdout + done.stderr
    asked = (tmp_path / "asked").read_text()
    assert "--namespace object-store get secret backups-credentials" in asked
    assert "{{.data.access_key_id | base64decode}}:{{.data.secret_access_key | base64decode}}" in asked


def test_the_store_holds_the_newest(host: Host, store: Store) -> None:
    for _ in range(2):
        assert host.run("isthmus-backup-etcd").returncode == 0
    listed = store.client.list_objects_v2(Bucket="backups")["Contents"]
    assert [one["Key"] for one in listed] == ["etcd/one.cms"]
    taken = int(_told(host)["isthmus_etcd_backup_last_success_timestamp_seconds"])
    assert store.object()[1]["taken"] == str(taken)


@pytest.mark.usefixtures("store")
def test_without_the_stores_key_the_backup_is_there_all_the_same_and_the_run_has_failed(host: Host) -> None:
    host.install("kubectl", "#!/bin/sh\necho no such secret >&2\nexit 1\n")
    done = host.run("isthmus-backup-etcd")
    assert done.returncode != 0
    assert "no such secret" in done.stderr
    assert len(host.backups) == 1
    assert "isthmus_etcd_backup_last_success_timestamp_seconds" in _told(host)
    assert not (host.root / "backups" / ".sealed").exists()


def test_a_store_that_refuses_is_told(host: Host, store: Store) -> None:
    store.client.delete_bucket(Bucket="backups")
    script = (host.root / "bin" / "isthmus-backup-etcd").read_text()
    host.install("isthmus-backup-etcd", script.replace("--retry-max-time 300", "--retry-max-time 2"))
    done = host.run("isthmus-backup-etcd")
    assert done.returncode != 0
    assert "404" in done.stderr
    assert f"{host.backups[0]} is made, but http://" in done.stderr


def test_a_restore_brings_back_what_was_there_and_ends_what_came_after(host: Host) -> None:
    host.etcdctl("put", "/kept", "1")
    assert host.run("isthmus-backup-etcd").returncode == 0
    host.etcdctl("put", "/later", "1")
    old = _identity(host)

    done = host.run("isthmus-restore-etcd", str(host.backups[-1]))
    assert done.returncode == 0, done.stdout + done.stderr
    _until(lambda: _answers(host), (host.root / "etcd.log").read_text()[-2000:])
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
