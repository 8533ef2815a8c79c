"""What tests of both sites share: who serves what, the link, and an environment file that is edited for a while."""

from __future__ import annotations

import functools
import hashlib
import json
import shlex
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from infra.cloud import lab_site
from infra.environment import Environment
from infra.settings import environment_file
from ops import machines, predict
from tests.e2e.work import object_store, train

ALIAS_KEY = "models/digits/aliases/champion.json"
ARRIVES_S = 60.0
"""Longest that a new champion may take to the other site; polls of replication and of serving, and the copy itself."""


def served(ingress: str) -> str:
    """The version that a site serves."""
    return httpx.get(f"{ingress}/v2/models/digits", timeout=5).json()["versions"][0]


def all_serve(version: str, *ingresses: str) -> bool:
    """Whether the servers of these sites serve a version. Each server looks by its own clock, and any may answer."""
    return all(served(ingress) == version for ingress in ingresses for _ in range(12))


def wait_for(what: str, holds: Callable[[], bool], seconds: float = ARRIVES_S) -> float:
    start = time.monotonic()
    while not holds():
        assert time.monotonic() - start < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.5)
    return time.monotonic() - start


def vpn(settings: Environment) -> str:
    """The machine on which the tunnels end."""
    assert settings.cloud is not None
    return lab_site.vpn_name(settings.cloud)


def reaches(machine: str, url: str) -> bool:
    """Whether what the machine asks comes through."""
    ask = ("curl", "-s", "-o", "/dev/null", "-m", "3", "-w", "%{http_code}", f"{url}/v2/health/ready")
    return machines.run(machine, "sh", "-c", f"{shlex.join(ask)} || true").strip() == "200"


@contextmanager
def edited(environment: str, after: str, old: str, new: str) -> Iterator[None]:
    """The environment file with the first `old` that follows `after` replaced; as it was afterwards."""
    path = environment_file(environment)
    text = path.read_text()
    head, found, tail = text.partition(after)
    changed = tail.replace(old, new, 1)
    assert found and changed != tail
    path.write_text(head + found + changed)
    try:
        yield
    finally:
        path.write_text(text)


def a_prediction() -> str:
    """The body of a request that has to be worked on; a readiness check says nothing of who answers."""
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": predict.held_out()[0][0].tolist()}
    return json.dumps({"inputs": [tensor]})


@dataclass(frozen=True)
class Champions:
    """What the alias `champion` of the on-prem store says of the model that is served, and of one just trained."""

    environment: str
    first: str
    newer: str
    aliases: dict[str, bytes]

    def promote(self, version: str) -> None:
        with object_store(self.environment) as s3:
            s3.put_object(Bucket="models", Key=ALIAS_KEY, Body=self.aliases[version])

    def settle(self, ingress: str, cloud_ingress: str) -> None:
        """Both sites serve the first model, and none that earlier runs promoted is still on its way.

        The alias travels in the order of its changes: who served the newer model and then the first has seen them all.
        """
        for version in (self.newer, self.first):
            self.promote(version)
            wait_for(f"{version} on both sites", functools.partial(all_serve, version, ingress, cloud_ingress))

    def train_another(self) -> str:
        """A version that was nowhere before. Training promotes it if it is the best."""
        known = manifests(self.environment)
        train(self.environment, seed=uuid.uuid4().int % 2**31)
        new = {version: of for version, of in manifests(self.environment).items() if version not in known}
        assert len(new) == 1, f"training published {list(new)}"
        self.aliases.update({version: alias(version, of) for version, of in new.items()})
        return next(iter(new))


def two_champions(environment: str) -> Champions:
    """The model that is served, and one that is trained for it, which may be the champion now: see `settle`."""
    with object_store(environment) as s3:
        before = s3.get_object(Bucket="models", Key=ALIAS_KEY)["Body"].read()
    first = json.loads(before)["version"]
    train(environment, seed=23)
    newer, content = next((version, of) for version, of in manifests(environment).items() if version != first)
    return Champions(environment, first, newer, {first: before, newer: alias(newer, content)})


def manifests(environment: str) -> dict[str, bytes]:
    """The versions of the model in the on-prem store."""
    folder = "models/digits/versions/"
    with object_store(environment) as s3:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket="models", Prefix=folder)
        keys = [one["Key"] for page in pages for one in page["Contents"] if one["Key"].endswith("/manifest.json")]
        return {
            key.removeprefix(folder).partition("/")[0]: s3.get_object(Bucket="models", Key=key)["Body"].read()
            for key in sorted(keys)
        }


def alias(version: str, manifest: bytes) -> bytes:
    """What an alias says that points at a version."""
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    return json.dumps({"version": version, "manifest_digest": digest}).encode()
