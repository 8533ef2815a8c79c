"""The sources of the page: each is asked over HTTP and gives its part of the site, or raises Silent with the reason."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import TypeVar

import httpx
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from isthmus_status import cluster, devices, kubernetes
from isthmus_status.models import Alert, Champion, Cluster, Site
from isthmus_status.settings import Settings

M = TypeVar("M")
NOTHING = b'{"items": []}'


class Silent(Exception):
    """A source that does not say what it is asked for."""


class Unknown(Silent):
    """A source that does not know what it is asked for."""


class Sources:
    """All of them."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        self.settings, self.client = settings, client

    async def cluster(self) -> Cluster:
        """What Kubernetes knows of nodes, pods and workloads."""
        try:
            token = (self.settings.account_dir / "token").read_text().strip()  # each time: it is renewed every hour
        except OSError as fault:
            raise Silent(f"no account at Kubernetes' API: {fault.strerror}") from None
        # From the API server's memory, which is enough for eyes; compressing it for a neighbour would cost both more.
        headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
        answers = await asyncio.gather(
            *(
                self._listed(kind, f"{self.settings.kubernetes_url}{path}?resourceVersion=0", headers)
                for kind, path in kubernetes.LISTS.items()
            )
        )
        lists = dict(zip(kubernetes.LISTS, answers, strict=True))
        nodes = read(kubernetes.List[kubernetes.Node], lists.pop("nodes")).items
        pods = read(kubernetes.List[kubernetes.Pod], lists.pop("pods")).items
        slices = read(kubernetes.List[kubernetes.Slice], lists.pop("slices")).items
        classes = read(kubernetes.List[kubernetes.DeviceClass], lists.pop("classes")).items
        claims = read(kubernetes.List[kubernetes.Claim], lists.pop("claims")).items
        rules = read(kubernetes.List[kubernetes.TaintRule], lists.pop("taint_rules")).items
        workloads = {kind: read(kubernetes.List[kubernetes.Workload], text).items for kind, text in lists.items()}
        return cluster.cluster(nodes, pods, workloads, devices.by_node(slices, classes, claims, rules))

    async def _listed(self, kind: str, url: str, headers: Mapping[str, str]) -> bytes:
        try:
            return await ask(self.client, url, headers)
        except Unknown:
            if kind in kubernetes.YOUNG:
                return NOTHING
            raise

    async def champion(self) -> Champion:
        """What inference says that it serves."""
        url = f"{self.settings.inference_url}/v2/models/{self.settings.model}"
        told = read(_Metadata, await ask(self.client, url))
        return Champion(name=told.name, version=told.versions[0], digest=told.parameters.digest)

    async def alerts(self) -> list[Alert]:
        """The alerts that fire and are not muted, the gravest first."""
        url = f"{self.settings.alertmanager_url}/api/v2/alerts?active=true&silenced=false&inhibited=false"
        found = [
            Alert(
                name=one.labels.get("alertname", ""),
                severity=one.labels.get("severity", ""),
                summary=one.annotations.get("summary", ""),
                runbook=one.annotations.get("runbook_url", ""),
                since=one.since,
            )
            for one in read(list[_Alert], await ask(self.client, url))
        ]
        return sorted(found, key=lambda one: (one.severity != "critical", one.name, one.summary))

    async def peer(self) -> Site:
        """What the other site's page tells of its site."""
        return read(Site, await ask(self.client, f"{self.settings.peer_url}/api/site"))


class _Parameters(BaseModel):
    digest: str = ""


class _Metadata(BaseModel):
    """Metadata of a model, as the Open Inference Protocol has it, with inference's own parameters."""

    name: str
    versions: list[str] = Field(min_length=1)
    parameters: _Parameters = _Parameters()


class _Alert(BaseModel):
    """An alert, as Alertmanager's API has it."""

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    since: AwareDatetime = Field(alias="startsAt")


async def ask(client: httpx.AsyncClient, url: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The body of a good answer; Silent with a reason in one line otherwise."""
    where = httpx.URL(url)
    try:
        answer = await client.get(where, headers=headers)
    except httpx.TimeoutException:
        raise Silent(f"{where.host} does not answer in time") from None
    except httpx.HTTPError as fault:
        raise Silent(f"{where.host} does not answer: {str(fault) or type(fault).__name__}") from None
    if answer.status_code != 200:
        fault = Unknown if answer.status_code == 404 else Silent
        raise fault(f"{where.host} answers {where.path} with HTTP {answer.status_code}")
    return answer.content


def read(shape: type[M], text: bytes) -> M:
    """The answer in its shape; Silent names what is wrong with it, without showing it."""
    try:
        return TypeAdapter(shape).validate_json(text)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Silent(f"an answer cannot be read: {where}: {first['msg']}") from None


def authority(settings: Settings) -> ssl.SSLContext | bool:
    """Who signs for Kubernetes' API; where there is no such file, the authorities that everybody trusts."""
    file = settings.account_dir / "ca.crt"
    return ssl.create_default_context(cafile=file) if file.exists() else True
