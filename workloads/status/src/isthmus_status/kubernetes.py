"""Answers of the Kubernetes API: of each object the fields that are shown, and no others.

They are read from the answer's bytes at once, so that a list of a thousand pods is never in memory as Python's dicts.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.alias_generators import to_camel

from isthmus_status.quantities import parse

T = TypeVar("T")
Quantities = dict[str, Annotated[float, BeforeValidator(parse)]]


class Object(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, allow_inf_nan=False)


class Metadata(Object):
    name: str
    namespace: str = ""
    labels: dict[str, str] = {}


class Condition(Object):
    type: str
    status: str


class Taint(Object):
    key: str
    effect: str


class NodeSpec(Object):
    unschedulable: bool = False
    taints: list[Taint] = []


class NodeInfo(Object):
    kubelet_version: str


class NodeStatus(Object):
    capacity: Quantities = {}
    allocatable: Quantities = {}
    conditions: list[Condition] = []
    node_info: NodeInfo


class Node(Object):
    metadata: Metadata
    spec: NodeSpec = NodeSpec()
    status: NodeStatus


class Resources(Object):
    requests: Quantities = {}


class Container(Object):
    restart_policy: str = ""
    resources: Resources = Resources()


class PodSpec(Object):
    node_name: str = ""
    containers: list[Container] = []
    init_containers: list[Container] = []
    overhead: Quantities = {}
    resources: Resources = Resources()


class PodStatus(Object):
    phase: str = ""
    conditions: list[Condition] = []


class Pod(Object):
    metadata: Metadata
    spec: PodSpec
    status: PodStatus = PodStatus()


class WorkloadSpec(Object):
    replicas: int = 1
    completions: int | None = None


class WorkloadStatus(Object):
    """The fields of all four kinds; each kind has its own of them."""

    ready_replicas: int = 0
    number_ready: int = 0
    desired_number_scheduled: int = 0
    succeeded: int = 0
    conditions: list[Condition] = []


class Workload(Object):
    metadata: Metadata
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()


class DeviceTaint(Object):
    effect: str = ""


class SliceDevice(Object):
    name: str
    taints: list[DeviceTaint] = []


class SlicePool(Object):
    name: str


class SliceSpec(Object):
    driver: str
    node_name: str = ""
    pool: SlicePool
    devices: list[SliceDevice] = []


class Slice(Object):
    """A ResourceSlice: devices of a driver, usually of one node."""

    spec: SliceSpec


class ClassSpec(Object):
    extended_resource_name: str = ""


class DeviceClass(Object):
    """How pods ask for devices of some kind."""

    metadata: Metadata
    spec: ClassSpec = ClassSpec()


class TaintSelector(Object):
    """Which devices a rule is about: those with all that it names."""

    driver: str = ""
    pool: str = ""
    device: str = ""


class TaintRuleSpec(Object):
    device_selector: TaintSelector | None = None
    taint: DeviceTaint


class TaintRule(Object):
    """A DeviceTaintRule: an administrator's word on devices."""

    spec: TaintRuleSpec


class Allocated(Object):
    """A device that a claim has."""

    driver: str
    pool: str
    device: str


class AllocatedDevices(Object):
    results: list[Allocated] = []


class Allocation(Object):
    devices: AllocatedDevices = AllocatedDevices()


class ClaimStatus(Object):
    allocation: Allocation = Allocation()


class Claim(Object):
    """A ResourceClaim."""

    status: ClaimStatus = ClaimStatus()


class List(Object, Generic[T]):
    items: list[T]


LISTS: dict[str, str] = {
    "nodes": "/api/v1/nodes",
    "pods": "/api/v1/pods",
    "slices": "/apis/resource.k8s.io/v1/resourceslices",
    "classes": "/apis/resource.k8s.io/v1/deviceclasses",
    "claims": "/apis/resource.k8s.io/v1/resourceclaims",
    "taint_rules": "/apis/resource.k8s.io/v1/devicetaintrules",
    "Deployment": "/apis/apps/v1/deployments",
    "StatefulSet": "/apis/apps/v1/statefulsets",
    "DaemonSet": "/apis/apps/v1/daemonsets",
    "Job": "/apis/batch/v1/jobs",
}
"""All that is asked of the API; the account may list these and no more (infra/platform/status.py)."""

YOUNG = ("taint_rules",)
"""What API servers of earlier versions do not know, and so have none of."""


def holds(conditions: list[Condition], kind: str) -> bool:
    """Whether a condition is true."""
    return any(one.type == kind and one.status == "True" for one in conditions)
