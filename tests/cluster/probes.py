"""Pods that try what policies allow and forbid, on the node and in the place of whoever a test says."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from infra.paths import state
from infra.platform import pods
from ops import cluster, engine

PYTHON: Final = "/usr/bin/python3.11"
LIVES_S: Final = 1800
"""A probe ends by itself, also where a test was killed before it could remove it."""

Target = tuple[str, int, str]
"""Address, port, and tcp or udp (which asks as a client of DNS does)."""

REACH: Final = r"""
import json, socket, sys, threading
targets, found = json.loads(sys.argv[1]), {}
QUESTION = b"\0\1\1\0\0\1\0\0\0\0\0\0\nkubernetes\7default\3svc\7cluster\5local\0\0\1\0\1"
def tcp(address):
    try:
        socket.create_connection(address, timeout=3).close()
    except ConnectionRefusedError:
        pass  # an answer: the packet came there
def udp(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(1.5)
        for last in (False, True):
            try:
                asking.sendto(QUESTION, address)
                return asking.recv(512)
            except TimeoutError:
                if last:
                    raise
def ask(name, host, port, how):
    try:
        {"tcp": tcp, "udp": udp}[how]((host, port))
        found[name] = True
    except OSError:
        found[name] = False
threads = [threading.Thread(target=ask, args=(name, *target)) for name, target in targets.items()]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(found))
"""
"""Prints for each target by name whether anything came back."""

SEND: Final = r"""
import socket, sys, time
host, port, tag, hertz, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), float(sys.argv[5])
sender, end, sent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), time.monotonic() + seconds, 0
while time.monotonic() < end:
    try:
        sender.sendto(tag.encode(), (host, port))
    except OSError:
        pass  # told at once that it may not: tried all the same
    sent += 1
    time.sleep(1 / hertz)
print(sent)
"""
"""Sends datagrams and prints how many it tried."""

RECEIVE: Final = r"""
import collections, json, socket, sys, time
receiver, end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), time.monotonic() + float(sys.argv[2])
receiver.bind(("0.0.0.0", int(sys.argv[1])))
receiver.settimeout(0.5)
counts = collections.Counter()
while time.monotonic() < end:
    try:
        counts[receiver.recv(64).decode()] += 1
    except TimeoutError:
        pass
print(json.dumps(counts))
"""
"""Prints how many datagrams of each tag arrived."""


END: Final = r"""
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
"""
"""Ends when asked to, which a container's first process else ignores: its host's shutdown would wait for it as long as
it may."""

SAY: Final = (
    END
    + r"""
import socket, time
port, tag, pause = int(sys.argv[1]), f"{sys.argv[2]}-{time.time_ns()}".encode(), float(sys.argv[3])
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for address in sys.argv[4:]:
        try:
            sender.sendto(tag, (address, port))
        except OSError:
            pass  # told at once that it may not: tried all the same
    time.sleep(pause)
"""
)
"""Sends datagrams for ever. Another start has another tag."""

HEAR: Final = (
    END
    + r"""
import socket
receiver, heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), set()
receiver.bind(("0.0.0.0", int(sys.argv[1])))
while True:
    tag = receiver.recv(64).decode()
    if tag not in heard:
        heard.add(tag)
        print(tag, flush=True)
"""
)
"""Prints each tag that arrives, once."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A running pod."""

    environment: str
    site: str
    namespace: str
    name: str
    address: str

    def run(self, script: str, *arguments: str, timeout: float = 60) -> str:
        """Runs a script in it and returns what that printed."""
        return cluster.kubectl(self.environment, *self._exec(script, *arguments), timeout=timeout, site=self.site)

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        """The same beside whatever the test does next."""
        settings = {
            **os.environ,
            **engine.variables(self.environment),
            "KUBECONFIG": str(cluster.kubeconfig_file(self.environment, self.site)),
        }
        command = ["kubectl", *self._exec(script, *arguments)]
        return subprocess.Popen(command, env=settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def reached(self, targets: dict[str, Target]) -> set[str]:
        """The names of the targets that answered."""
        return answered(self.run(REACH, json.dumps(targets)))

    def told(self) -> list[str]:
        """The lines that its program has printed since its last start."""
        return cluster.kubectl(self.environment, "logs", "-n", self.namespace, self.name, site=self.site).split()

    def _exec(self, script: str, *arguments: str) -> tuple[str, ...]:
        return ("exec", "-n", self.namespace, self.name, "--", PYTHON, "-c", script, *arguments)


def answered(printed: str) -> set[str]:
    """The names of the targets that answered, from what REACH printed."""
    return {name for name, came in json.loads(printed).items() if came}


@contextmanager
def unguarded(environment: str, site: str = "onprem") -> Iterator[str]:
    """The name of a namespace that no policy is in, removed in the end."""
    name = f"probes-{uuid.uuid4().hex[:6]}"
    cluster.kubectl(environment, "create", "namespace", name, site=site)
    try:
        # Its account is made a moment later, and no pod can be created before.
        wait = ("wait", "--for=create", "--timeout=30s", "-n", name, "serviceaccount/default")
        cluster.kubectl(environment, *wait, timeout=40, site=site)
        yield name
    finally:
        cluster.kubectl(environment, "delete", "namespace", name, "--ignore-not-found", timeout=120, site=site)


@contextmanager
def running(
    environment: str, *places: tuple[str, str, str | None], program: tuple[str, ...] = (), site: str = "onprem"
) -> Iterator[list[Probe]]:
    """A probe in each place of a site, removed in the end. A place is (node, namespace, app it passes for or None).

    `program`: a script and its arguments, run at each start, also after its host's; without it, it runs what is asked.
    """
    mark = uuid.uuid4().hex[:6]
    names = [f"probe-{mark}-{number}" for number in range(len(places))]
    image = _image(environment, site)
    made = [_manifest(name, *place, image, program) for name, place in zip(names, places, strict=True)]
    path = state(environment) / f"probes-{mark}.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
    try:
        cluster.kubectl(environment, "create", "-f", str(path), site=site)
        yield [
            _started(environment, site, namespace, name) for name, (_, namespace, _) in zip(names, places, strict=True)
        ]
    finally:
        cluster.kubectl(environment, "delete", "-f", str(path), "--ignore-not-found", timeout=60, site=site)
        path.unlink()


def _started(environment: str, site: str, namespace: str, name: str) -> Probe:
    wait = ("--for=condition=Ready", "--timeout=90s", "-n", namespace, f"pod/{name}")
    cluster.kubectl(environment, "wait", *wait, timeout=100, site=site)
    pod = json.loads(cluster.kubectl(environment, "get", "pod", name, "-n", namespace, "-o", "json", site=site))
    return Probe(environment=environment, site=site, namespace=namespace, name=name, address=pod["status"]["podIP"])


def _image(environment: str, site: str) -> str:
    """Every host has it, and there is a Python in it."""
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    return cluster.kubectl(environment, "get", "deployment", "inference", "-n", "workloads", "-o", path, site=site)


def _manifest(
    name: str, node: str, namespace: str, app: str | None, image: str, program: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": pods.selector(app) if app else {}},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Always" if program else "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "activeDeadlineSeconds": LIVES_S,
            # What is on a host stays there while it is away.
            "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": pods.USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "command": [PYTHON, "-c", *(program or (f"import time; time.sleep({LIVES_S})",))],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"cpu": "500m", "memory": "128Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
