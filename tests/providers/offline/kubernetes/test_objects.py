"""Making, awaiting, changing and deleting objects on a real API server with its controllers, without the engine."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any

import pytest

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.isthmus.log import EngineLog
from infra.providers.offline.kubernetes import kinds
from infra.providers.offline.kubernetes.client import Cluster
from infra.providers.offline.kubernetes.config import Settings
from infra.providers.offline.kubernetes.errors import ApiError, Unreachable
from infra.providers.offline.kubernetes.objects import Call, Objects
from tests.providers.offline.kubernetes.conftest import ApiServer
from tests.providers.offline.kubernetes.nodes import READY, SUCCEEDED, Nodes, failed

pytestmark = pytest.mark.apiserver

POD = {"containers": [{"name": "main", "image": "x", "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}]}


class Engine:
    """Takes the log messages, as the engine would show them."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def Log(self, request: Any, timeout: float | None = None) -> None:  # noqa: ARG002
        """One message."""
        self.messages.append(request.message)


@pytest.fixture
def engine() -> Engine:
    """The engine's log."""
    return Engine()


@pytest.fixture
def objects(apiserver: ApiServer, namespace: str) -> Objects:
    """Works in the test's namespace."""
    settings = Settings(kubeconfig=apiserver.kubeconfig, namespace=namespace)
    return Objects(settings, Cluster(apiserver.kubeconfig), threading.Event())


def call(engine: Engine, token: str, *, seconds: float = 20, name: str = "it") -> Call:
    """As the engine asks for it."""
    urn = f"urn:pulumi:test::standin::kubernetes:{token}::{name}"
    log = EngineLog(urn=urn, engine=engine)
    return Call(urn=urn, kind=kinds.of_token(f"kubernetes:{token}"), log=log, seconds=seconds)


def named(name: str, namespace: str, **rest: Any) -> dict[str, Any]:
    """An object's inputs."""
    return {"metadata": {"name": name, "namespace": namespace}, **rest}


def workload(replicas: int) -> dict[str, Any]:
    """A spec of a deployment or a stateful set."""
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": POD}
    return {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}


def test_the_table_of_kinds_is_the_api_servers_own(apiserver: ApiServer) -> None:
    for kind in kinds.TABLE.values():
        path = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        found = {
            entry["kind"]: entry for entry in apiserver.request("GET", path)["resources"] if "/" not in entry["name"]
        }
        entry = found[kind.name]
        assert (entry["name"], entry["namespaced"]) == (kind.plural, kind.namespaced), str(kind)


def test_workloads_are_awaited_until_their_pods_are_ready(
    objects: Objects, apiserver: ApiServer, engine: Engine, namespace: str, nodes: Nodes
) -> None:
    # Endpoints are for pods of known nodes only.
    apiserver.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "loopback"}})
    threading.Timer(1.5, lambda: setattr(nodes, "says", READY)).start()
    spec = workload(2)
    spec["template"]["spec"] = {**POD, "nodeName": "loopback"}
    made = objects.create(call(engine, "apps/v1:Deployment"), named("web", namespace, spec=spec))
    assert made.reasons == ()
    assert made.rid == f"{namespace}/web"
    assert made.outputs["status"]["availableReplicas"] == 2
    assert engine.messages, "nothing of the wait was shown"

    service = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    answered = objects.create(call(engine, "core/v1:Service", seconds=5), named("web", namespace, spec=service))
    assert answered.reasons == (), answered.reasons
    stateful = {**workload(1), "serviceName": "web"}
    stateful["selector"] = {"matchLabels": {"app": "db"}}
    stateful["template"] = {"metadata": {"labels": {"app": "db"}}, "spec": POD}
    assert objects.create(call(engine, "apps/v1:StatefulSet"), named("db", namespace, spec=stateful)).reasons == ()


def test_a_wait_outlasts_an_api_server_that_does_not_answer_for_a_while(
    objects: Objects, engine: Engine, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, asked = Cluster.find, []

    def sometimes(self: Cluster, *args: Any, **options: Any) -> Any:
        asked.append(args)
        if len(asked) < 3:
            raise Unreachable("no answer: cut by the test")
        return ask(self, *args, **options)

    monkeypatch.setattr(Cluster, "find", sometimes)
    service = {"selector": {"app": "none"}, "ports": [{"port": 80}]}
    made = objects.create(call(engine, "core/v1:Service", seconds=3), named("web", namespace, spec=service))
    assert "no answer: cut by the test" in engine.messages
    assert len(asked) > 3
    assert "no ready pod behind the service" in made.reasons[0]


def test_a_service_without_pods_says_so(objects: Objects, engine: Engine, namespace: str) -> None:
    service = {"selector": {"app": "none"}, "ports": [{"port": 80}]}
    made = objects.create(call(engine, "core/v1:Service", seconds=2), named("lonely", namespace, spec=service))
    assert "no ready pod behind the service" in made.reasons[0]
    assert made.reasons[1] == f"no pod of the namespace {namespace} has the labels app=none"


def test_jobs_are_awaited_until_they_complete_or_fail(
    objects: Objects, engine: Engine, namespace: str, nodes: Nodes
) -> None:
    job = {"backoffLimit": 0, "template": {"spec": {**POD, "restartPolicy": "Never"}}}
    nodes.says = SUCCEEDED
    good = objects.create(call(engine, "batch/v1:Job"), named("good", namespace, spec=job))
    assert good.reasons == ()
    nodes.says = failed(3)
    began = time.monotonic()
    bad = objects.create(call(engine, "batch/v1:Job", seconds=60), named("bad", namespace, spec=job))
    assert time.monotonic() - began < 30, "a job that has failed for good was awaited on"
    assert bad.reasons[0].startswith("the job failed: BackoffLimitExceeded")
    assert any("exit code 3" in reason for reason in bad.reasons), bad.reasons


def test_refresh_finds_no_drift_in_what_the_server_added_and_finds_what_changed(
    objects: Objects, apiserver: ApiServer, engine: Engine, namespace: str, nodes: Nodes
) -> None:
    nodes.says = READY
    deployment, inputs = call(engine, "apps/v1:Deployment"), named("web", namespace, spec=workload(1))
    made = objects.create(deployment, inputs)
    seen = objects.read(deployment, made.rid, inputs, made.outputs)
    assert seen is not None
    assert seen.inputs == inputs
    assert seen.reasons == ()

    apiserver.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/web", {"spec": {"replicas": 3}})
    drifted = objects.read(deployment, made.rid, inputs, made.outputs)
    assert drifted is not None
    assert drifted.inputs["spec"]["replicas"] == 3

    secret, content = call(engine, "core/v1:Secret"), named("key", namespace, stringData={"a": "1"})
    kept = objects.create(secret, content)
    again = objects.read(secret, kept.rid, content, kept.outputs)
    assert again is not None
    assert again.inputs == content
    assert objects.read(secret, f"{namespace}/none", content, kept.outputs) is None


def test_a_field_that_another_manager_owns_is_not_taken_silently(
    objects: Objects, apiserver: ApiServer, engine: Engine, namespace: str
) -> None:
    settings, inputs = call(engine, "core/v1:ServiceAccount"), named("it", namespace)
    inputs["metadata"]["labels"] = {"a": "1"}
    made = objects.create(settings, inputs)
    apiserver.patch(f"/api/v1/namespaces/{namespace}/serviceaccounts/it", {"metadata": {"labels": {"a": "2"}}})
    inputs["metadata"]["labels"] = {"a": "3"}
    with pytest.raises(ApiError, match=r'owned by another field manager: ".+" owns metadata.labels.a\. Leave'):
        objects.update(settings, inputs, made.outputs)
    with pytest.raises(ApiError, match="owned by another field manager"):
        objects.preview(settings, inputs, made.outputs)
    inputs["metadata"]["annotations"] = {"pulumi.com/patchForce": "true"}
    assert objects.update(settings, inputs, made.outputs).outputs["metadata"]["labels"] == {"a": "3"}


def test_a_number_that_an_autoscaler_has_set_survives_an_update(
    objects: Objects, apiserver: ApiServer, engine: Engine, namespace: str, nodes: Nodes
) -> None:
    nodes.says = READY
    first = call(engine, "apps/v1:Deployment")
    ignoring = dataclasses.replace(first, ignored=("spec.replicas",))
    inputs = named("web", namespace, spec=workload(1))
    made = objects.create(first, inputs)
    inputs["metadata"]["labels"] = {"rollout": "1"}
    same = objects.update(ignoring, inputs, made.outputs)
    assert same.outputs["spec"]["replicas"] == 1, "a field of ours that is not sent falls back to its default"
    # As an autoscaler does: through the scale, whose manager then owns the number.
    scale = f"/apis/apps/v1/namespaces/{namespace}/deployments/web/scale"
    apiserver.patch(scale, {"spec": {"replicas": 3}})
    inputs["metadata"]["labels"] = {"rollout": "2"}
    assert objects.preview(ignoring, inputs, same.outputs)["spec"]["replicas"] == 3
    scaled = objects.update(ignoring, inputs, same.outputs)
    assert scaled.reasons == ()
    assert (scaled.outputs["spec"]["replicas"], scaled.outputs["metadata"]["labels"]) == (3, {"rollout": "2"})
    with pytest.raises(ApiError, match="owned by another field manager"):
        objects.update(first, inputs, scaled.outputs)
    inputs["metadata"]["annotations"] = {"pulumi.com/patchForce": "true"}
    assert objects.update(first, inputs, scaled.outputs).outputs["spec"]["replicas"] == 1, "it is taken back on request"


def test_a_dropped_field_is_dropped_from_the_object(objects: Objects, engine: Engine, namespace: str) -> None:
    account, inputs = call(engine, "core/v1:ServiceAccount"), named("it", namespace)
    inputs["metadata"]["labels"] = {"a": "1", "b": "2"}
    made = objects.create(account, inputs)
    inputs["metadata"]["labels"] = {"a": "1"}
    assert objects.update(account, inputs, made.outputs).outputs["metadata"]["labels"] == {"a": "1"}


def test_previews_are_tried_on_the_server(objects: Objects, engine: Engine, namespace: str) -> None:
    service = call(engine, "core/v1:Service")
    planned = objects.preview(service, named("web", namespace, spec={"ports": [{"port": 80}]}), {})
    assert planned["spec"]["clusterIP"] is UNKNOWN
    assert planned["status"] is UNKNOWN
    assert planned["spec"]["ports"][0]["protocol"] == "TCP", "the server's defaults are missing"
    with pytest.raises(ApiError, match=r"spec\.ports"):
        objects.preview(service, named("web", namespace, spec={"ports": [{"port": 70000}]}), {})
    partly = objects.preview(service, named("web", namespace, spec={"ports": [{"port": UNKNOWN}]}), {})
    assert partly["spec"]["ports"] == [{"port": UNKNOWN}]
    early = objects.preview(service, named("web", "not-made-yet", spec={"ports": [{"port": 80}]}), {})
    assert early["metadata"]["uid"] is UNKNOWN


def test_a_create_waits_for_its_namespace(
    objects: Objects, apiserver: ApiServer, engine: Engine, namespace: str
) -> None:
    late = f"{namespace}-late"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": late}}
    threading.Timer(1.5, apiserver.request, ("POST", "/api/v1/namespaces", body)).start()
    made = objects.create(call(engine, "core/v1:ConfigMap"), named("it", late, data={"a": "b"}))
    assert made.rid == f"{late}/it"


def test_an_address_that_an_unfinished_request_still_holds_is_waited_for(
    objects: Objects, apiserver: ApiServer, engine: Engine, namespace: str
) -> None:
    """As after a request for the same Service that an API server took half-way; it frees the address 60 s later."""
    addresses, address = "/apis/networking.k8s.io/v1/ipaddresses", "10.0.0.11"
    held = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": address,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": "store-0"}},
    }
    apiserver.request("POST", addresses, held)
    store = named("store-0", namespace, spec={"clusterIP": address, "ports": [{"port": 80}]})
    with pytest.raises(ApiError, match=f"{address}: provided IP is already allocated"):
        whole = {"apiVersion": "v1", "kind": "Service", **store}
        objects._cluster.apply(kinds.TABLE["kubernetes:core/v1:Service"], whole, manager="it", retry=0.5)
    threading.Timer(1.5, apiserver.request, ("DELETE", f"{addresses}/{address}")).start()
    made = objects.create(call(engine, "core/v1:Service"), store)
    assert made.outputs["spec"]["clusterIP"] == address


def test_a_port_of_nodes_that_an_unfinished_request_still_holds_is_waited_for(
    objects: Objects, apiserver: ApiServer, engine: Engine, namespace: str
) -> None:
    """As after one whose client went away before the answer: it gives the port back when it cannot be finished."""
    services, port = f"/api/v1/namespaces/{namespace}/services", 30217
    spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}
    held = {"apiVersion": "v1", "kind": "Service", **named("held", namespace, spec=spec)}
    apiserver.request("POST", services, held)
    mesh = named("mesh", namespace, spec=spec)
    with pytest.raises(ApiError, match=f"{port}: provided port is already allocated"):
        whole = {"apiVersion": "v1", "kind": "Service", **mesh}
        objects._cluster.apply(kinds.TABLE["kubernetes:core/v1:Service"], whole, manager="it", retry=0.5)
    threading.Timer(1.5, apiserver.request, ("DELETE", f"{services}/held")).start()
    made = objects.create(call(engine, "core/v1:Service"), mesh)
    assert made.outputs["spec"]["ports"][0]["nodePort"] == port


def test_a_delete_waits_until_the_object_is_gone_and_says_what_holds_it(
    objects: Objects, apiserver: ApiServer, engine: Engine, namespace: str
) -> None:
    held, inputs = call(engine, "core/v1:ConfigMap", seconds=2), named("it", namespace, data={"a": "b"})
    inputs["metadata"]["finalizers"] = ["standin.example/hold"]
    made = objects.create(held, inputs)
    with pytest.raises(ApiError, match=r"still there after 2 s, being deleted: finalizers .*standin.example/hold"):
        objects.delete(held, made.rid, made.outputs)
    path = f"/api/v1/namespaces/{namespace}/configmaps/it"
    threading.Timer(1, apiserver.patch, (path, {"metadata": {"finalizers": None}})).start()
    objects.delete(dataclasses.replace(held, seconds=20), made.rid, made.outputs)
    assert apiserver.request("GET", path) is None
    objects.delete(held, made.rid, made.outputs)


def test_an_interrupted_wait_keeps_the_object(apiserver: ApiServer, engine: Engine, namespace: str) -> None:
    cancelled = threading.Event()
    cluster = Cluster(apiserver.kubeconfig, cancelled=cancelled)
    objects = Objects(Settings(kubeconfig=apiserver.kubeconfig), cluster, cancelled)
    threading.Timer(1, cancelled.set).start()
    made = objects.create(call(engine, "apps/v1:Deployment"), named("web", namespace, spec=workload(1)))
    assert made.reasons[0].startswith("interrupted")
    assert made.outputs["metadata"]["uid"]


def test_a_cluster_that_is_gone_is_named_and_can_be_forgotten(engine: Engine) -> None:
    gone = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "x"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    interrupted = threading.Event()
    objects = Objects(Settings(kubeconfig=gone), Cluster(gone, cancelled=interrupted), interrupted)
    with pytest.raises(Unreachable, match=r"no answer from https://127.0.0.1:1"):
        objects._look(kinds.TABLE["kubernetes:core/v1:ConfigMap"], named("it", "default"), retry=0.5)
    forgetting = Objects(Settings(kubeconfig=gone, delete_unreachable=True), objects._cluster, interrupted)
    forgetting.delete(call(engine, "core/v1:ConfigMap"), "default/it", {})
    assert "deleteUnreachable" in engine.messages[-1]
