"""Proves the NVIDIA device plugin on a host that has a GPU and its driver, with what pack.py packed.

    sudo python3 check.py FOLDER [LOGS]

One line for each proof; it ends with 1 if one fails. The host's own files and processes stay as they are (node.py).
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import node
from node import Late, Node, wait_for

NVIDIA = "nvidia.com/gpu"
LIMIT_S = 540
PODS = {"users": "/api/v1/namespaces/users/pods", "accelerators": "/api/v1/namespaces/accelerators/pods"}
CONFINED = {"name": "users", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}


class Check:
    """The proofs, in their order: each builds upon what those before it left, and tells what it saw."""

    def __init__(self, one: Node, objects: dict[str, Any]) -> None:
        self.node, self.objects, self.slices = one, objects, objects["slices"]
        self.program = Path(__file__).with_name("vector_add.py").read_text()
        self.uuid = ""

    def pods(self, namespace: str = "users") -> dict[str, dict[str, Any]]:
        return {pod["metadata"]["name"]: pod for pod in self.node.get(PODS[namespace])["items"]}

    def log(self, name: str, namespace: str = "users") -> str:
        return self.node.call("GET", f"{PODS[namespace]}/{name}/log")

    def start(self, name: str, count: int = 1, seconds: int = 900, runtime: bool = True) -> None:
        """A pod as training makes it; it may ask for another number of devices, and do without their runtime."""
        pod = copy.deepcopy(self.objects["pod"])
        pod["metadata"]["name"] = name
        (container,) = pod["spec"]["containers"]
        container["command"] = ["/usr/bin/python3.11", "-c", self.program, str(seconds)]
        for amounts in container["resources"].values():
            amounts[NVIDIA] = str(count)
        if not runtime:
            del pod["spec"]["runtimeClassName"]
        self.node.apply(pod)

    def end(self, name: str, namespace: str = "users") -> None:
        self.node.call("DELETE", f"{PODS[namespace]}/{name}")
        wait_for(f"{name} has gone", lambda: name not in self.pods(namespace))

    def seen(self, name: str) -> dict[str, Any]:
        """What the program in a pod says of its GPU."""
        return json.loads(wait_for(f"{name} tells", lambda: self.log(name)))

    def computes(self, name: str) -> dict[str, Any]:
        seen = self.seen(name)
        _hold(seen["gpus"] == [self.uuid] and seen["sum"], f"{name} has the host's GPU, and it adds right: {seen}")
        return seen

    def failed(self, name: str, namespace: str = "users") -> dict[str, Any]:
        wait_for(f"{name} fails", lambda: self.pods(namespace)[name]["status"]["phase"] == "Failed")
        return self.pods(namespace)[name]["status"]

    def offered(self, count: int) -> None:
        def told() -> bool:
            return self.node.get(f"/api/v1/nodes/{node.NAME}")["status"]["allocatable"].get(NVIDIA) == str(count)

        wait_for(f"{count} {NVIDIA} allocatable", told)

    def plugin(self) -> tuple[str, int]:
        """The one plugin pod that runs, and how often it has registered."""
        pods = self.pods("accelerators").items()
        (name,) = [
            one
            for one, pod in pods
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]
        return name, self.log(name, "accelerators").count("Registered device plugin")

    def goes_on(self, name: str, before: dict[str, Any]) -> None:
        pod = self.pods()[name]
        (status,) = pod["status"]["containerStatuses"]
        same = pod["metadata"]["uid"] == before["metadata"]["uid"] and status["restartCount"] == 0
        _hold(same and status["ready"], f"{name} goes on: {pod['status']}")

    def a_node_of_one(self) -> str:
        self.uuid = _told("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader").split()[0]
        self.node.prepare()
        self.node.start(self.objects["labels"], self.objects["taints"])
        self.node.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": CONFINED})
        info = self.node.get(f"/api/v1/nodes/{node.NAME}")["status"]["nodeInfo"]
        gpu = _told("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").strip()
        toolkit = _told("/usr/bin/nvidia-container-runtime", "--version").splitlines()[0].rpartition(" ")[2]
        versions = f"Kubernetes {info['kubeletVersion']}, {info['containerRuntimeVersion']}, toolkit {toolkit}"
        return f"{gpu}, kernel {info['kernelVersion']}, {versions}"

    def the_device_is_offered(self) -> str:
        for thing in self.objects["whole"]:
            self.node.apply(thing)
        self.offered(1)
        version = re.search(r'version="([^"]+)"', self.log(self.plugin()[0], "accelerators"))
        return f"plugin {version[1] if version else '?'}"

    def a_pod_that_asks_for_it_computes_on_it(self) -> str:
        self.start("user")
        return ", ".join(self.computes("user")["nodes"])

    def a_pod_that_asks_for_none_sees_none(self) -> str:
        self.start("plain", count=0, seconds=0, runtime=False)
        seen = self.seen("plain")
        _hold(not seen["gpus"] and not seen["nodes"], f"sees none: {seen}")
        return f"though its image says NVIDIA_VISIBLE_DEVICES={seen['visible']}"

    def to_know_what_the_runtime_gives_a_pod_that_asks_for_none(self) -> str:
        """No proof: NVIDIA's runtime goes by the image's and the pod's variables, whoever has the device."""
        self.start("runtime", count=0, seconds=0)
        return f"{len(self.seen('runtime')['gpus'])} GPU"

    def while_it_is_taken_a_pod_waits(self) -> str:
        self.start("late")

        def why() -> str:
            conditions = self.pods()["late"]["status"].get("conditions", [])
            return next((one.get("message", "") for one in conditions if one["type"] == "PodScheduled"), "")

        wait_for("the scheduler says why", lambda: f"Insufficient {NVIDIA}" in why())
        reason = why()
        self.end("user")
        self.computes("late")
        return reason

    def slices_are_offered_after_the_change(self) -> str:
        before = self.pods()["late"]
        for thing in self.objects["sliced"]:
            self.node.apply(thing)
        self.offered(self.slices)
        self.goes_on("late", before)
        self.end("late")
        return f"{self.slices}, and who had the device kept it"

    def two_pods_share_it(self) -> None:
        for name in ("one", "two"):
            self.start(name)
        for name in ("one", "two"):
            self.computes(name)
            _hold(self.pods()[name]["status"]["phase"] == "Running", f"{name} runs")

    def who_asks_for_two_slices_is_told(self) -> str:
        self.start("greedy", count=2)
        message = self.failed("greedy")["message"]
        _hold("maximum request size for shared resources is 1" in message, message)
        return message

    def a_new_plugin_pod_takes_over(self) -> None:
        before, (name, _) = self.pods()["one"], self.plugin()
        self.end(name, "accelerators")
        wait_for("another has registered", lambda: self.plugin()[1] == 1)
        self.offered(self.slices)
        self.start("after-plugin", seconds=0)
        self.computes("after-plugin")
        self.goes_on("one", before)

    def a_kubelet_that_restarts_is_told_again(self) -> str:
        before, (name, known) = self.pods()["one"], self.plugin()
        began = time.monotonic()
        self.node.restart_kubelet()
        wait_for("it has registered again", lambda: self.plugin() == (name, known + 1), 120)
        took = time.monotonic() - began
        self.offered(self.slices)
        self.start("after-kubelet", seconds=0)
        self.computes("after-kubelet")
        self.goes_on("one", before)
        return f"by the same plugin pod, {took:.0f} s after it was killed"

    def without_a_driver_the_plugin_ends_and_says_why(self) -> str:
        """Its own pod, with runc in place of NVIDIA's runtime: as on a host that has no driver."""
        (plugin,) = (one for one in self.objects["whole"] if one["kind"] == "DaemonSet")
        spec = copy.deepcopy(plugin["spec"]["template"]["spec"]) | {"restartPolicy": "Never"}
        del spec["runtimeClassName"]
        metadata = {"name": "no-driver", "namespace": "accelerators"}
        self.node.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        self.failed("no-driver", "accelerators")
        return self.log("no-driver", "accelerators").strip().splitlines()[-1].partition("] ")[2]


def _hold(true: Any, what: str) -> None:
    if not true:
        raise Late(what)


def _told(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


PROOFS = (
    Check.a_node_of_one,
    Check.the_device_is_offered,
    Check.a_pod_that_asks_for_it_computes_on_it,
    Check.a_pod_that_asks_for_none_sees_none,
    Check.to_know_what_the_runtime_gives_a_pod_that_asks_for_none,
    Check.while_it_is_taken_a_pod_waits,
    Check.slices_are_offered_after_the_change,
    Check.two_pods_share_it,
    Check.who_asks_for_two_slices_is_told,
    Check.a_new_plugin_pod_takes_over,
    Check.a_kubelet_that_restarts_is_told_again,
    Check.without_a_driver_the_plugin_ends_and_says_why,
)


def inside(pack: Path, logs: Path, scratch: Path) -> int:
    """In the namespaces, as their first process: all others end with it."""
    check = Check(Node(pack, logs, scratch), json.loads((pack / "objects.json").read_text()))
    faults = 0
    for proof in PROOFS:
        began = time.monotonic()
        try:
            told, verdict = proof(check) or "", "ok  "
        except (OSError, ValueError, LookupError, subprocess.SubprocessError, Late) as error:
            told, verdict, faults = f"{type(error).__name__}: {error}", "FAIL", faults + 1
        name = proof.__name__.replace("_", " ")
        print(f"{verdict} {time.monotonic() - began:5.1f} s  {name}: {told}".removesuffix(": "), flush=True)
        if faults and proof is PROOFS[0]:
            break
    with contextlib.suppress(OSError):
        (logs / "pods.json").write_text(json.dumps([check.pods(namespace) for namespace in PODS]))
    return int(faults > 0)


def outside(folder: Path, logs: Path) -> int:
    """Unpacks, and waits for the check in its namespaces, but not for ever."""
    logs.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Of a check that was killed; it is refused while one runs.
    node.clean()
    with tempfile.TemporaryDirectory(prefix="isthmus-gpu-") as made:
        pack, scratch, whole = (Path(made, name) for name in ("pack", "scratch", "pack.tar.xz"))
        scratch.mkdir()
        whole.write_bytes(b"".join(part.read_bytes() for part in sorted(folder.glob("pack.tar.xz.*"))))
        with tarfile.open(whole) as tar:
            # Debian 12's Python has no filters.
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            tar.extractall(pack)
        # Whoever ends this process ends the others with it.
        tied = ["setpriv", "--pdeathsig", "KILL"]
        separate = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--mount-proc"]
        check = [sys.executable, __file__, "--inside", str(pack), str(logs.resolve()), str(scratch)]
        environment = {"PATH": f"/usr/bin:/usr/sbin:/bin:/sbin:{os.environ['PATH']}"}
        try:
            return subprocess.run(tied + separate + check, timeout=LIMIT_S, check=False, env=environment).returncode
        except subprocess.TimeoutExpired:
            print(f"FAIL: not done within {LIMIT_S} s", flush=True)
            return 1
        finally:
            node.clean()


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        sys.exit(inside(*(Path(one) for one in sys.argv[2:])))
    sys.exit(outside(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "logs")))
