"""What is told of a site: the answer of /api/site, which the other site's page reads too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

T = TypeVar("T")


class Model(BaseModel):
    """Read-only. Unknown fields are passed over: the other site may be a version ahead."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Amount(Model):
    """Of something that is handed out to pods; processor in cores, memory in bytes, devices in pieces."""

    allocatable: float
    requested: float


class Device(Amount):
    """An extended resource of a node, or what a driver has there. What is not allocatable is lost, or called ill."""

    name: str
    capacity: float


class Node(Model):
    name: str
    roles: list[str]
    zone: str
    version: str
    ready: bool
    schedulable: bool
    pressures: list[str]
    """Conditions that are true and should not be, such as DiskPressure."""
    cpu: Amount
    memory: Amount
    devices: list[Device]


class Workload(Model):
    """A Deployment, StatefulSet, DaemonSet or Job: how many of its pods are ready, of a Job how many have succeeded."""

    kind: str
    name: str
    ready: int
    wanted: int
    failed: bool = False

    @property
    def well(self) -> bool:
        """Whether nothing is missing; a Job that still runs misses nothing."""
        return not self.failed and (self.kind == "Job" or self.ready >= self.wanted)


class Namespace(Model):
    """Pods that have ended are not counted: they are their Job's matter, or were replaced."""

    name: str
    pods: int
    ready: int
    workloads: list[Workload]


class Cluster(Model):
    nodes: list[Node]
    namespaces: list[Namespace]


class Champion(Model):
    """The model that inference serves."""

    name: str
    version: str
    digest: str


class Alert(Model):
    name: str
    severity: str
    summary: str
    runbook: str
    since: AwareDatetime


class Reading(Model, Generic[T]):
    """What a source has said last, and when; `fault` is why it says nothing now."""

    value: T | None = None
    at: AwareDatetime | None = None
    fault: str = "not asked yet"

    def said(self, value: T) -> Reading[T]:
        """The same source after an answer."""
        return self.model_copy(update={"value": value, "at": now(), "fault": ""})

    def failed(self, fault: str) -> Reading[T]:
        """The same source after none: what it said last is kept."""
        return self.model_copy(update={"fault": fault})


class Site(Model):
    """One site as its own page knows it. Times are of that site's clock; `told_at` is when it told of them."""

    name: str
    told_at: AwareDatetime
    cluster: Reading[Cluster]
    champion: Reading[Champion]
    alerts: Reading[list[Alert]]


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)
