"""The stand-in as a program's author meets it: through the real engine, on a real API server."""

from __future__ import annotations

import base64
import json

import pytest

from tests.providers.offline.engine import Stack
from tests.providers.offline.kubernetes.conftest import ApiServer
from tests.providers.offline.kubernetes.nodes import READY, Nodes, waiting

pytestmark = pytest.mark.apiserver

SECRET = "never-in-the-state"

PROGRAM = """
version = pathlib.Path("version").read_text()
cluster = ResourceOptions(provider=provider(namespace="NAMESPACE"))
team = k8s.core.v1.Namespace("team", opts=cluster)
inside = {"namespace": team.metadata.name}
settings = k8s.core.v1.ConfigMap("settings", metadata=inside, data={"v": version}, opts=cluster)
k8s.core.v1.ConfigMap("named", metadata={"name": "named"}, data={"v": version}, opts=cluster)
key = k8s.core.v1.Secret("key", string_data={"k": "never-in-the-state"}, opts=cluster)
k8s.core.v1.ConfigMap("hidden", data={"k": pulumi.Output.secret("never-in-the-state")}, opts=cluster)
service = k8s.core.v1.Service("web", spec={"ports": [{"port": 80}]}, opts=cluster)
rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": [version]}]
role = k8s.rbac.v1.ClusterRole("reader", rules=rules, opts=cluster)
crd = k8s.apiextensions.v1.CustomResourceDefinition(
    "crd",
    metadata={"name": "gadgets.standin.example"},
    spec={
        "group": "standin.example",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
        "versions": [{
            "name": "v1", "served": True, "storage": True,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "x_kubernetes_preserve_unknown_fields": True},
            }}},
        }],
    },
    opts=cluster,
)
gadget = k8s.apiextensions.CustomResource(
    "gadget", api_version="standin.example/v1", kind="Gadget", spec={"teeth": 32, "v": version},
    opts=ResourceOptions(provider=cluster.provider, depends_on=[crd]),
)
pulumi.export("settings", settings.id)
pulumi.export("named", settings.metadata.name)
pulumi.export("role", role.id)
pulumi.export("address", service.spec.cluster_ip)
pulumi.export("gadget", gadget.id)
"""


def test_a_program_is_made_kept_changed_and_deleted(stack: Stack, apiserver: ApiServer, namespace: str) -> None:
    version = stack.folder / "version"
    version.write_text("1")
    stack.program(PROGRAM.replace("NAMESPACE", namespace))

    planned = stack.preview()
    assert planned.code == 0, planned.text
    assert set(planned.steps.values()) == {"create"}
    assert apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/named") is None, (
        "a preview made something"
    )

    made = stack.up()
    assert made.code == 0, made.text
    assert made.diagnostics.count("stand-in for the kubernetes plugin") == 1
    outputs = stack.outputs()
    team, _, settings = outputs["settings"].partition("/")
    assert settings == outputs["named"]
    assert settings.startswith("settings-")
    assert len(settings) == len("settings-") + 8
    assert team.startswith("team-")
    assert outputs["role"].startswith("reader-"), "ids of the cluster's objects have no namespace"
    assert outputs["gadget"].startswith(f"{namespace}/gadget-")
    assert outputs["address"].startswith("10.0.0.")
    live = apiserver.request("GET", f"/api/v1/namespaces/{team}/configmaps/{settings}")
    assert live["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}
    assert [entry["operation"] for entry in live["metadata"]["managedFields"]] == ["Apply"]
    definition = apiserver.request(
        "GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.standin.example"
    )
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert schema["properties"]["spec"]["x-kubernetes-preserve-unknown-fields"] is True

    state = json.dumps(stack.state())
    assert SECRET not in state
    assert base64.b64encode(SECRET.encode()).decode() not in state

    assert stack.up("--expect-no-changes").code == 0
    assert stack.preview("--refresh", "--expect-no-changes").code == 0, "the server's defaults were taken for drift"

    version.write_text("2")
    changed = stack.up()
    assert changed.code == 0, changed.text
    assert changed.changed["reader"] == changed.changed["gadget"] == "update"
    assert changed.changed["settings"] in ("create-replacement", "replace"), (
        "an autonamed object is made before its old one goes"
    )
    assert changed.changed["named"] in ("delete-replaced", "replace")
    assert stack.outputs()["settings"] != outputs["settings"]
    assert apiserver.request("GET", f"/api/v1/namespaces/{team}/configmaps/{settings}") is None
    assert apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/named")["data"] == {"v": "2"}

    (stack.folder / "kubeconfig").write_text(apiserver.kubeconfig_text.replace("admin", "renewed"))
    renewed = stack.up()
    assert renewed.code == 0, renewed.text
    assert renewed.changed == {}, "new credentials for the same cluster must not touch what is in it"

    gone = stack.destroy()
    assert gone.code == 0, gone.text
    assert apiserver.request("GET", f"/api/v1/namespaces/{team}") is None
    assert apiserver.request("GET", "/apis/standin.example/v1") is None


def test_what_others_change_is_seen_and_set_right(stack: Stack, apiserver: ApiServer, namespace: str) -> None:
    stack.program(f"""
    cluster = ResourceOptions(provider=provider(namespace="{namespace}"))
    for name in ("kept", "edited", "lost"):
        k8s.core.v1.ServiceAccount(name, metadata={{"name": name, "labels": {{"a": "1"}}}}, opts=cluster)
    """)
    assert stack.up().code == 0
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    apiserver.patch(f"{accounts}/edited", {"metadata": {"labels": {"a": "2", "theirs": "stays"}}})
    apiserver.request("DELETE", f"{accounts}/lost")

    assert stack.refresh().code == 0
    again = stack.up()

    # The engine's field manager does not own what it did not set, but what it set it takes back only by force.
    assert again.code != 0
    assert "fields are owned by another field manager" in again.text
    assert "metadata.labels.a" in again.text
    assert again.changed == {"edited": "update", "lost": "create"}

    stack.program(f"""
    cluster = ResourceOptions(provider=provider(namespace="{namespace}", enable_patch_force=True))
    for name in ("kept", "edited", "lost"):
        k8s.core.v1.ServiceAccount(name, metadata={{"name": name, "labels": {{"a": "1"}}}}, opts=cluster)
    """)
    assert stack.up().code == 0
    assert apiserver.request("GET", f"{accounts}/edited")["metadata"]["labels"] == {"a": "1", "theirs": "stays"}
    assert apiserver.request("GET", f"{accounts}/lost") is not None


def test_a_kubeconfig_that_is_yet_to_come_is_previewed(stack: Stack, namespace: str) -> None:
    stack.program(f"""
    first = ResourceOptions(provider=provider(namespace="{namespace}"))
    marker = k8s.core.v1.ConfigMap("marker", data={{"a": "b"}}, opts=first)
    text = pathlib.Path("kubeconfig").read_text()
    later = k8s.Provider("later", kubeconfig=marker.metadata.uid.apply(lambda uid: text), namespace="{namespace}")
    inner = k8s.core.v1.ConfigMap("inner", data={{"a": "b"}}, opts=ResourceOptions(provider=later))
    pulumi.export("inner", inner.id)
    """)
    planned = stack.preview()
    assert planned.code == 0, planned.text
    assert planned.steps == {"marker": "create", "inner": "create"}
    made = stack.up()
    assert made.code == 0, made.text
    assert stack.outputs()["inner"].startswith(f"{namespace}/inner-")
    assert stack.up("--expect-no-changes").code == 0


def test_an_unknown_type_is_refused_by_name(stack: Stack, apiserver: ApiServer, namespace: str) -> None:
    stack.program(f"""
    cluster = ResourceOptions(provider=provider(namespace="{namespace}"))
    k8s.core.v1.Endpoints("odd", opts=cluster)
    """)
    refused = stack.up()
    assert refused.code != 0
    assert "does not know kubernetes:core/v1:Endpoints" in refused.text
    assert apiserver.request("GET", f"/api/v1/namespaces/{namespace}/endpoints")["items"] == []


def test_a_deployment_that_is_not_ready_is_kept_and_finished_by_the_next_up(
    stack: Stack, apiserver: ApiServer, namespace: str, nodes: Nodes
) -> None:
    stack.program(f"""
    cluster = ResourceOptions(provider=provider(namespace="{namespace}"))
    labels = {{"app": "web"}}
    k8s.apps.v1.Deployment(
        "web",
        metadata={{"annotations": {{"pulumi.com/timeoutSeconds": "6"}}}},
        spec={{
            "replicas": 2,
            "selector": {{"matchLabels": labels}},
            "template": {{
                "metadata": {{"labels": labels}},
                "spec": {{"containers": [{{"name": "main", "image": "x"}}]}},
            }},
        }},
        opts=cluster,
    )
    """)
    nodes.says = waiting("ImagePullBackOff", "no such image: x")
    failed = stack.up()
    assert failed.code != 0
    assert "still not ready after 6 s: 0 of 2 pods available" in failed.text
    assert "ImagePullBackOff: no such image: x" in failed.text
    kept = stack.state()["web"]
    assert kept["initErrors"]
    made = apiserver.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"]

    nodes.says = READY
    finished = stack.up()
    assert finished.code == 0, finished.text
    assert finished.changed == {"web": "update"}
    assert "initErrors" not in stack.state()["web"]
    again = apiserver.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"]
    assert [item["metadata"]["uid"] for item in again] == [item["metadata"]["uid"] for item in made]


def test_a_create_that_was_cut_off_is_taken_over_and_a_stranger_is_not(
    stack: Stack, apiserver: ApiServer, namespace: str
) -> None:
    program = (
        f'cluster = ResourceOptions(provider=provider(namespace="{namespace}"))\n'
        'k8s.core.v1.ServiceAccount("mine", metadata={"name": "mine"}, opts=cluster)\n'
    )
    stack.program(program)
    assert stack.up().code == 0
    stack.pulumi("state", "delete", "--yes", stack.state()["mine"]["urn"])
    taken = stack.up()
    assert taken.code == 0, taken.text

    metadata = {"name": "theirs", "labels": {"a": "1"}}
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    apiserver.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", body)
    stack.program(program + 'k8s.core.v1.ServiceAccount("theirs", metadata={"name": "theirs"}, opts=cluster)\n')
    refused = stack.up()
    assert refused.code != 0
    assert f"{namespace}/theirs already exists" in refused.text
