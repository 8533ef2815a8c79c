"""Fills the registry of a real site: its owners run it, and what their hosts ask of it is sent from the mirror here.

Hosts ask for images and files alone, see registry.py. What is there is not sent again, so that a run which was cut off
is continued by the next one. The registry holds each part to its digest.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import httpx

from infra.providers.isthmus import oci
from infra.providers.isthmus.handler import ResourceError
from ops.console import Failure, say
from ops.mirror import catalog as catalogs
from ops.mirror.registry import digest_of, file_manifest, split
from ops.mirror.report import Report
from ops.mirror.store import Meta, Store

AT_ONCE = 4
PATIENCE_S = 5.0
"""For a first answer."""

RUN_ONE = "run an OCI registry there (README.md, A real environment), or open its port to this machine"
LET_IN = "let this machine push there without a password; hosts, which have none, pull from it"


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """A manifest of the mirror, and where the registry is to have it."""

    name: str
    repository: str
    tag: str
    digest: str


def publish(url: str, records: Iterable[Meta], store: Store | None = None) -> int:
    """Has the registry at `url` hold what hosts ask for of the records; returns how many of them were sent.

    Failure names the registry, what it refused, and the fix.
    """
    _answers(url)
    # A proxy of the environment leads to the internet; this is inside the site.
    login = oci.Login(url=url, proxies=False)
    folder = oci.Folder((store or Store()).registry)
    asked = _asked_for(records)
    try:
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            there = pool.map(lambda one: _there(login, one), asked)
            missing = [one for one, held in zip(asked, there, strict=True) if not held]
        _send_all(missing, folder, login)
    except oci.Refused as refused:
        raise Failure(
            f"{url} did not take what the site needs: {refused.what}: {refused.reason}", fix=_fix(refused)
        ) from None
    except ResourceError as fault:
        raise Failure(f"{url} lacks what the site needs: {fault}", fix="do that, then run this again") from None
    say(f"    {url} has all {len(asked)} images and files; {len(missing)} were sent")
    return len(missing)


def _asked_for(records: Iterable[Meta]) -> list[Tagged]:
    """The images, and the files that are served; the rest stays on this machine."""
    artifacts = catalogs.load().artifacts
    found = []
    for meta in records:
        if meta.kind == "image" and meta.ref:
            repository, tag = split(meta.ref)
            found.append(Tagged(name=meta.name, repository=repository, tag=tag, digest=meta.digest))
        elif artifacts[meta.name].served:
            digest = digest_of(file_manifest(meta.digest, meta.size))
            found.append(Tagged(name=meta.name, repository=f"files/{meta.name}", tag=meta.version, digest=digest))
    return found


def _answers(url: str) -> None:
    """Failure where no registry answers that lets in who has no password."""
    if not re.fullmatch(r"https?://[^/\s]+", url):
        raise Failure(f"{url} is no registry's URL", fix="write it like http://10.0.0.2:5000, without a path")
    try:
        status = httpx.get(f"{url}/v2/", timeout=PATIENCE_S, trust_env=False).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failure(
            f"the site's registry {url} does not answer ({type(error).__name__}: {error})", fix=RUN_ONE
        ) from None
    if status in (401, 403):
        raise Failure(f"the site's registry {url} asks for a password (HTTP {status})", fix=LET_IN)
    if status != 200:
        raise Failure(f"what answers at {url} is no OCI registry (HTTP {status} to GET /v2/)", fix=RUN_ONE)


def _there(login: oci.Login, one: Tagged) -> bool:
    with oci.Registry(login, one.repository) as registry:
        return oci.there(registry, tag=one.tag, digest=one.digest)


class Stopped(Exception):
    """It was left between two parts, because something else failed or somebody wants no more of it."""


def _send_all(missing: list[Tagged], folder: oci.Folder, login: oci.Login) -> None:
    """Several at once; after a failure, or Ctrl-C, nothing new is begun."""
    if not missing:
        return
    ended = threading.Event()
    with Report(len(missing)) as report, ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        sending = [pool.submit(_send, one, folder, login, report, ended) for one in missing]
        try:
            wait(sending)
        finally:
            ended.set()
    for error in (future.exception() for future in sending):
        if error and not isinstance(error, Stopped):
            raise error


def _send(one: Tagged, folder: oci.Folder, login: oci.Login, report: Report, ended: threading.Event) -> None:
    def before_each(what: str) -> None:
        if ended.is_set():
            raise Stopped(one.name)
        report.step(one.name, what.removeprefix(f"{one.repository}: "))

    if ended.is_set():
        return
    report.start(one.name, "begins")
    try:
        with oci.Registry(login, one.repository) as registry:
            oci.copy(folder, registry, tag=one.tag, digest=one.digest, before_each=before_each)
    except BaseException as error:
        ended.set()
        report.end(one.name, "stopped" if isinstance(error, Stopped) else "FAILED")
        raise
    report.end(one.name, "sent")


def _fix(refused: oci.Refused) -> str:
    if refused.status in (401, 403):
        return LET_IN
    if refused.status == 405:
        return "the registry is set to be read only: let it take pushes, and run this again"
    if "DIGEST_INVALID" in refused.reason:
        return "`make mirror ARGS=verify` tells whether it is damaged here; if not, it was on its way: run this again"
    return "mend that and run this again: it continues with what is missing"
