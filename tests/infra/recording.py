"""Runs a part of the program against mocks and gives back every resource that it registered."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi

from infra import environment
from infra.accelerators import IMAGES
from infra.artifacts import Artifact, Index
from infra.environment import Environment
from infra.naming import (
    CUSTOM_METRICS,
    GRAFANA,
    KUBEADM_IMAGES,
    LAB_STORAGE,
    MESH_IMAGE,
    MONITORING,
    NODE_FILES,
    POD_IMAGES,
    SNAPSHOTS,
    STATUS,
    WORKER_IMAGES,
)
from infra.paths import ROOT

SECRET = "a-very-secret-value"

SECRET_MARK = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
"""What marks a secret between program and engine."""


@dataclass(frozen=True)
class Options:
    """How a resource was registered. Resources are named by their logical names."""

    parent: str
    protect: bool
    deleted_with: str
    depends_on: frozenset[str]
    provider: str
    ignores: tuple[str, ...]


@dataclass(frozen=True)
class Resource:
    """A registered resource; `inputs` have Kubernetes' own names; secrets are marked, see is_secret."""

    type: str
    name: str
    inputs: dict[str, Any]
    urn: str
    options: Options
    waits_for: frozenset[str]
    """URNs of all that has to be there before the engine hears of it."""

    @property
    def kind(self) -> str:
        """Deployment, for kubernetes:apps/v1:Deployment."""
        return self.type.rpartition(":")[2]

    @property
    def pod(self) -> dict[str, Any] | None:
        """The pod that it starts, if it starts any."""
        return self.inputs.get("spec", {}).get("template", {}).get("spec") if self.type.startswith("kube") else None


class Mocks(pulumi.runtime.Mocks):
    """Echoes inputs as outputs; a call of any function is a mistake, because the program must not ask the world."""

    def __init__(self) -> None:
        self.latest = threading.local()

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.latest.inputs = args.inputs
        amazon = _amazons(args.name) if args.typ.startswith("aws:") else {}
        return f"{args.name}-id", {**amazon, **args.inputs, **_made(args.typ, args.name)}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"the program calls {args.token}")


def _amazons(name: str) -> dict[str, Any]:
    """What AWS adds to the inputs of whatever it makes; each resource has its part of it."""
    tunnels = {
        f"tunnel{number}{key}": f"{name}-tunnel{number}-{key}"
        for number in (1, 2)
        for key in ("Address", "CgwInsideAddress", "VgwInsideAddress", "PresharedKey")
    }
    return {
        "arn": f"arn:aws:::{name}",
        "bucket": name,
        "certificateAuthority": {"data": f"{name}-authority"},
        "endpoint": f"https://{name}.example",
        "identities": [{"oidcs": [{"issuer": f"https://{name}.example/issuer"}]}],
        "keyId": f"{name}-key",
        "latestVersion": 1,
        "name": name,
        "repositoryUrl": f"registry.example/{name}",
        **tunnels,
    }


def _made(kind: str, name: str) -> dict[str, Any]:
    """What our own provider adds to the inputs."""
    match kind:
        case "isthmus:secret:RandomSecret":
            return {"value": pulumi.Output.secret(SECRET + name)}
        case "isthmus:secret:Authority" | "isthmus:secret:Certificate":
            return {"certificate": f"certificate of {name}", "private_key": pulumi.Output.secret(SECRET + name)}
        case "isthmus:lab:Network":
            return {"mirror_url": "http://10.0.0.2:5000"}
        case "isthmus:lab:AwsApi":
            return {"endpoint": "http://10.0.0.3:5000"}
        case "isthmus:lab:Machine":
            return {"host_key": f"ssh-ed25519 {name}"}
        case "isthmus:ansible:Playbook":
            return {"results": pulumi.Output.secret({"kubeconfig": SECRET})}
    return {}


class Monitor(pulumi.runtime.mocks.MockMonitor):
    """Notes everything that is registered, with its options, which mocks are not told."""

    def __init__(self, mocks: Mocks) -> None:
        super().__init__(mocks)
        self.recorded: list[Resource] = []

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """As the engine does: with the types of all parents but the stack's. pulumi's own mock has only the last."""
        above = parent.split("::")[2] if parent else ""
        inside = f"{above}$" if above not in ("", "pulumi:pulumi:Stack") else ""
        return f"urn:pulumi:local::isthmus::{inside}{type_}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        answer = super().RegisterResource(request)
        options = Options(
            parent=_name(request.parent),
            protect=request.protect,
            deleted_with=_name(request.deletedWith),
            depends_on=frozenset(_name(urn) for urn in request.dependencies),
            provider=_name(request.provider.rpartition("::")[0]),
            ignores=tuple(request.ignoreChanges),
        )
        if request.type != "pulumi:pulumi:Stack":
            inputs = self.mocks.latest.inputs
            self.recorded.append(Resource(request.type, request.name, inputs, answer.urn, options, _waits_for(request)))
        return answer


def _waits_for(request: Any) -> frozenset[str]:
    needed = [request.parent, request.deletedWith, request.provider.rpartition("::")[0], *request.dependencies]
    for inputs in request.propertyDependencies.values():
        needed += inputs.urns
    return frozenset(urn for urn in needed if urn)


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def record(program: Callable[[], Any]) -> list[Resource]:
    """Everything that `program` registers, once all of it has been registered."""
    return record_options(program)[0]


def record_options(
    program: Callable[[], Any], preview: bool = False
) -> tuple[list[Resource], dict[tuple[str, str], Options]]:
    """The same with the options of each (kind, name). Each run has mocks and an event loop of its own."""
    mocks = Mocks()
    monitor = Monitor(mocks)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # A run makes a hundred thousand objects that live to its end: looking through them for garbage is half of its time.
    gc.disable()
    try:
        pulumi.runtime.set_mocks(mocks, project="isthmus", stack="local", preview=preview, monitor=monitor)
        pulumi.runtime.test(lambda: program() and None)()
    finally:
        gc.enable()
        asyncio.set_event_loop(None)
        loop.close()
    return monitor.recorded, {(one.kind, one.name): one.options for one in monitor.recorded}


def is_secret(value: Any) -> bool:
    """Whether the engine is told to keep the value encrypted and out of sight."""
    return isinstance(value, dict) and SECRET_MARK.items() <= value.items()


def the(resources: list[Resource], kind: str, name: str) -> Resource:
    """The one resource of that kind and logical name."""
    found = [one for one in resources if (one.kind, one.name) == (kind, name)]
    assert len(found) == 1, f"{len(found)} resources {kind} {name} among {[(one.kind, one.name) for one in resources]}"
    return found[0]


def local() -> Environment:
    """The environment that everything is tested in."""
    return environment.load(ROOT / "environments" / "local.yaml")


def hybrid() -> Environment:
    """The lab with a cloud half."""
    return environment.load(ROOT / "environments" / "hybrid.yaml")


def index(**changes: Artifact) -> Index:
    """A mirror's index without a mirror."""
    names = {
        *KUBEADM_IMAGES,
        *POD_IMAGES,
        *(name for images in WORKER_IMAGES.values() for name in images),
        "training",
        "aws-api",
        *IMAGES.values(),
        *LAB_STORAGE,
        *SNAPSHOTS,
        *MONITORING,
        CUSTOM_METRICS,
        GRAFANA,
        STATUS,
        MESH_IMAGE,
    }
    artifacts = {name: image(f"registry.example/{name}:v1") for name in names}
    artifacts |= {name: file(Path("/mirror", name)) for name in (*NODE_FILES, "registry", "machine")}
    return Index(artifacts=artifacts | changes)


def image(ref: str, digit: str = "0") -> Artifact:
    """An image; another digit is another content."""
    return Artifact(kind="image", version="v1", ref=ref, digest=f"sha256:{digit * 64}", size=1)


def file(path: Path) -> Artifact:
    """A file on this machine."""
    return Artifact(kind="file", version="v1", path=path, digest=f"sha256:{'0' * 64}", size=1)
