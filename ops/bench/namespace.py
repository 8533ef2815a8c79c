"""The benchmark's own namespace in the running cluster: what is made in it, waited for, and removed with it.

Pods and claims are made and watched over one open connection: kubectl takes a while to start, which would be measured,
and a processor, which others need.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops import cluster
from ops.bench import objects
from ops.bench.objects import NAMESPACE, Object
from ops.console import Failure

PATIENCE_S, ANSWER_S, PAUSE_S = 180.0, 20, 0.2
PLURALS = {"Pod": "pods", "PersistentVolumeClaim": "persistentvolumeclaims"}


@dataclass(frozen=True, kw_only=True)
class Namespace:
    """`node` and `image`: where pods run, and what they run, which is there already."""

    environment: str
    node: str
    image: str
    ask: Callable[..., Any]
    """(method, path, body) -> what the API answers; None for what is not there."""

    def pod(self, name: str, program: str, *, claimed: str | None = None) -> Object:
        """A pod of this node and image; not made yet."""
        return objects.pod(name, node=self.node, image=self.image, program=program, claimed=claimed)

    def create(self, one: Object) -> None:
        self.ask("POST", f"/api/v1/namespaces/{NAMESPACE}/{PLURALS[one['kind']]}", one)

    def said(self, pod: str) -> str:
        """What a pod wrote for who asks why it ended, once it has ended well."""
        return self._until(pod, lambda found: found["status"].get("phase") == "Succeeded")["message"]

    def running(self, pod: str) -> None:
        """Waits until a pod runs."""
        self._until(pod, cluster.ready)

    def _until(self, name: str, true: Callable[[Object], bool]) -> Object:
        """The state of the pod's container, once something is true of the pod."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = self.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}")
            if found is None:
                raise Failure(f"pod {name} was deleted by somebody else", fix="run it again")
            if true(found):
                return container_state(found)
            if found["status"].get("phase") == "Failed":
                raise Failure(f"pod {name} failed: {told(found)}", fix="make status")
            if time.monotonic() > deadline:
                raise Failure(
                    f"pod {name} is not there within {PATIENCE_S:.0f} s: {told(found)} {self._events()}",
                    fix="make status",
                )
            time.sleep(PAUSE_S)

    def _events(self) -> str:
        found = self.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/events") or {"items": []}
        return "; ".join(one.get("message") or "" for one in found["items"][-4:])

    def clear(self) -> None:
        """Removes all pods and claims, and waits until their volumes are gone too: nothing of it is left to be done."""
        for plural in PLURALS.values():
            self.ask("DELETE", f"/api/v1/namespaces/{NAMESPACE}/{plural}")
        deadline = time.monotonic() + PATIENCE_S
        while left := [
            one["metadata"]["name"]
            for plural in PLURALS.values()
            for one in self.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/{plural}")["items"]
        ] + volumes_of(self.ask("GET", "/api/v1/persistentvolumes")["items"]):
            if time.monotonic() > deadline:
                raise Failure(f"{', '.join(left)} of {NAMESPACE} cannot be removed", fix="make status")
            time.sleep(PAUSE_S)


def container_state(pod: Object) -> Object:
    """What Kubernetes says of the pod's container: why it waits or has ended."""
    for status in pod["status"].get("containerStatuses", []):
        for state in status["state"].values():
            return {"message": "", **state}
    return {"message": ""}


def told(pod: Object) -> str:
    """Why a pod is as it is."""
    state = container_state(pod)
    words = [pod["status"].get("phase", ""), state.get("reason", ""), state["message"]]
    words += [one.get("message", "") for one in pod["status"].get("conditions", []) if one["status"] == "False"]
    return ", ".join(word for word in words if word)


def volumes_of(volumes: list[Object]) -> list[str]:
    """The names of those volumes that claims of the namespace have, or had."""
    return [
        one["metadata"]["name"] for one in volumes if (one["spec"].get("claimRef") or {}).get("namespace") == NAMESPACE
    ]


@contextmanager
def made(environment: str, node: str) -> Iterator[Namespace]:
    """The namespace, anew; it is removed with all that it holds however the work ends, also what a killed run left."""
    image = cluster.kubectl(
        environment,
        *("get", "deployment", "inference", "-n", "workloads"),
        *("-o", "jsonpath={.spec.template.spec.containers[0].image}"),
    )
    remove(environment)
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"apiVersion": "v1", "kind": "List", "items": objects.namespace()}, file)
            file.flush()
            cluster.kubectl(environment, "create", "-f", file.name)
        # Without its account, which Kubernetes makes, a namespace takes no pods.
        account = ("wait", "--for=create", "-n", NAMESPACE, "serviceaccount/default", "--timeout=30s")
        cluster.kubectl(environment, *account, timeout=40)
        yield Namespace(
            environment=environment, node=node, image=image, ask=connection(cluster.kubeconfig_file(environment))
        )
    finally:
        remove(environment)


def remove(environment: str) -> None:
    """Removes the namespace and waits until it and the volumes of its claims are gone."""
    arguments = ("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=150s")
    cluster.kubectl(environment, *arguments, timeout=160)
    deadline = time.monotonic() + PATIENCE_S
    while left := volumes_of(cluster.items(environment, "persistentvolumes")):
        if time.monotonic() > deadline:
            raise Failure(f"volumes {', '.join(left)} are left", fix="`kubectl describe pv` says what keeps them")
        time.sleep(2)


def connection(kubeconfig: Path) -> Callable[..., Any]:
    """Asks the API of that cluster."""
    # Here: it takes a second to load, which other benchmarks need not wait for.
    from kubernetes import config
    from kubernetes.client.exceptions import ApiException
    from kubernetes.dynamic import DynamicClient
    from urllib3.exceptions import HTTPError

    # Without a discoverer: the library's asks the server at once and leaves a file in the shared temporary folder.
    client = DynamicClient(config.new_client_from_config(config_file=str(kubeconfig)), discoverer=lambda *_: None)

    def ask(method: str, path: str, body: Object | None = None) -> Any:
        try:
            answer = client.request(method, path, body=body, serialize=False, _request_timeout=ANSWER_S)
        except ApiException as fault:
            if fault.status == 404 and method == "GET":
                return None
            raise Failure(f"{method} {path}: {fault.reason} {fault.body or ''}", fix="make status") from None
        except (HTTPError, OSError) as fault:
            raise Failure(f"{method} {path}: no answer: {fault}", fix="make status") from None
        return json.loads(answer.data)

    return ask
