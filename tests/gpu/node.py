"""A Kubernetes of one node, as plain processes in namespaces of their own: nothing of it outlives who asked for it.

The host's folders are seen through overlays, so that each file lies where the roles put it and the host keeps its own.
The network is a loopback that no other process sees; pods have no way out of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import ssl
import struct
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ADDRESS = "10.199.0.1"
PODS = "10.199.1.0/24"
API = "https://127.0.0.1:6443"
CGROUP = Path("/sys/fs/cgroup/isthmus-gpu-check")
NAME = "gpu"
PLURALS = {"NetworkPolicy": "networkpolicies", "RuntimeClass": "runtimeclasses"}
RUNTIMES = "plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes"


class Late(Exception):
    """Something was not so, or not in time."""


def wait_for(what: str, true: Callable[[], Any], seconds: float = 60) -> Any:
    """What `true` gives once it is something; until then it may fail in the ways of a server that is not up."""
    deadline, last = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            if found := true():
                return found
        except (OSError, ValueError) as error:
            last = f": {error}"
        time.sleep(0.25)
    raise Late(f"{what}: not within {seconds:.0f} s{last}")


class Node:
    """The node and its API server; `pack` is the unpacked package, `logs` takes what the processes say."""

    def __init__(self, pack: Path, logs: Path, scratch: Path) -> None:
        self.pack, self.logs, self.scratch = pack, logs, scratch
        self.token = secrets.token_hex(16)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        own = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), own)

    def call(self, method: str, path: str, body: Any = None) -> str:
        """What the API server answers; a body is applied."""
        request = urllib.request.Request(API + path, method=method, data=json.dumps(body).encode() if body else None)
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/apply-patch+yaml")
        try:
            with self.opener.open(request, timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            raise OSError(f"{method} {path}: {error.code} {error.read().decode()[:400]}") from error

    def get(self, path: str) -> Any:
        return json.loads(self.call("GET", path))

    def apply(self, thing: dict[str, Any]) -> None:
        kind, version, metadata = thing["kind"], thing["apiVersion"], thing["metadata"]
        path = f"/api/{version}" if version == "v1" else f"/apis/{version}"
        path += f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        path += f"/{PLURALS.get(kind, kind.lower() + 's')}/{metadata['name']}"
        self.call("PATCH", f"{path}?fieldManager=check&force=true", thing)

    def prepare(self) -> None:
        """Overlays, an address, a cgroup, and the files that the roles and kubeadm would have written."""
        if Path("/var/lib/kubelet").exists():
            raise Late("this host has a kubelet: take one that is no node")
        if not (CGROUP.parent / "cgroup.controllers").exists():
            raise Late("this host has no cgroups of version 2")
        _mount("tmpfs", self.scratch)
        for folder in ("/etc", "/opt", "/var/lib", "/var/log"):
            upper, work = (self.scratch / f"{part}{folder.replace('/', '-')}" for part in ("upper", "work"))
            upper.mkdir()
            work.mkdir()
            _mount("overlay", folder, f"lowerdir={folder},upperdir={upper},workdir={work}")
        _mount("overlay", "/usr/bin", f"lowerdir={self.pack}/bin:/usr/bin")
        for folder in ("/run", "/var/lib/containerd", "/var/lib/kubelet"):
            Path(folder).mkdir(exist_ok=True)
            _mount("tmpfs", folder)
        shutil.copytree(self.pack / "cni", "/opt/cni/bin", dirs_exist_ok=True)
        shutil.copytree(self.pack / "containerd", "/etc/containerd", dirs_exist_ok=True)
        # The one thing that differs from a host: there systemd makes the cgroups, and it is not in these namespaces.
        own = "".join(f"[{RUNTIMES}.{one}.options]\nSystemdCgroup = false\n" for one in ("runc", "nvidia"))
        Path("/etc/containerd/conf.d/90-no-systemd.toml").write_text(f"version = 3\n{own}")
        network = {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]]}}
        Path("/etc/cni/net.d").mkdir(parents=True, exist_ok=True)
        Path("/etc/cni/net.d/10-pods.conflist").write_text(
            json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": [network]})
        )
        _addresses()
        CGROUP.mkdir(exist_ok=True)
        there = (CGROUP.parent / "cgroup.controllers").read_text().split()
        for folder in (CGROUP.parent, CGROUP):
            wanted = {"cpu", "cpuset", "memory", "hugetlb", "pids"}.intersection(there)
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in wanted))

    def start(self, labels: dict[str, str], taints: list[str]) -> None:
        """The whole node, in the order in which its parts need each other."""
        home, etcd = self.scratch, "http://127.0.0.1:2379"
        (home / "tokens").write_text(f"{self.token},check,1,system:masters\n")
        (home / "resolv.conf").touch()
        (home / "kubeconfig").write_text(json.dumps(_access(self.token)))
        (home / "kubelet.json").write_text(json.dumps(_kubelet(home / "resolv.conf")))
        self.run("etcd", f"--data-dir={home}/etcd", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}")
        self.run("containerd")
        # A server makes its key itself; service accounts, which need one to start, get the same.
        key = f"{home}/certs/apiserver.key"
        api = [f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--advertise-address={ADDRESS}"]
        api += ["--endpoint-reconciler-type=none", f"--cert-dir={home}/certs", f"--token-auth-file={home}/tokens"]
        api += ["--authorization-mode=AlwaysAllow", "--service-account-issuer=https://kubernetes.default.svc"]
        api += [f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"]
        api += ["--service-cluster-ip-range=10.199.2.0/24", "--disable-admission-plugins=ServiceAccount"]
        self.run("kube-apiserver", *api, "--kubelet-preferred-address-types=InternalIP")
        wait_for("containerd", lambda: Path("/run/containerd/containerd.sock").exists())
        for image in self.pack.glob("*.tar"):
            load = ["/usr/bin/ctr", "--namespace=k8s.io", "images", "import", "--local", str(image)]
            subprocess.run(load, check=True, timeout=120, capture_output=True)
        wait_for("the API server", lambda: self.call("GET", "/readyz") == "ok", 90)
        for name in ("kube-controller-manager", "kube-scheduler"):
            self.run(name, f"--kubeconfig={home}/kubeconfig", "--leader-elect=false", "--secure-port=0")
        self.kubelet = [f"--config={home}/kubelet.json", f"--kubeconfig={home}/kubeconfig", f"--node-ip={ADDRESS}"]
        self.kubelet += [f"--hostname-override={NAME}", f"--register-with-taints={','.join(taints)}"]
        self.kubelet += [f"--node-labels={','.join(f'{key}={value}' for key, value in labels.items())}"]
        self.run("kubelet", *self.kubelet)
        wait_for("the node is ready", self.ready, 90)

    def ready(self) -> bool:
        conditions = self.get(f"/api/v1/nodes/{NAME}")["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def run(self, name: str, *arguments: str) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen([f"/usr/bin/{name}", *arguments], stdout=log, stderr=log)

    def restart_kubelet(self) -> None:
        self.processes["kubelet"].kill()
        self.processes["kubelet"].wait()
        self.run("kubelet", *self.kubelet)


def _access(token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "x", "cluster": {"server": API, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "x", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "current-context": "x",
    }


def _kubelet(resolver: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP.name}",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "failSwapOn": False,
        "resolvConf": str(resolver),
    }


def _mount(kind: str, place: str | Path, options: str = "rw") -> None:
    subprocess.run(["/usr/bin/mount", "-t", kind, "-o", options, kind, str(place)], check=True, timeout=10)


def _addresses() -> None:
    """Loopback up, with the node's address beside its own: the kubelet takes no 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sH22x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
        for request, value in ((0x8916, ADDRESS), (0x891C, "255.255.255.255")):  # SIOCSIFADDR, SIOCSIFNETMASK
            told = struct.pack("16sHH4s16x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, request, told)


def clean() -> None:
    """What namespaces leave behind: the cgroups. From outside, when all processes are gone."""
    for folder, _, _ in os.walk(CGROUP, topdown=False):
        wait_for(f"{folder} is empty", lambda folder=folder: Path(folder).rmdir() or True, 10)
