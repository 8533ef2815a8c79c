"""What tests of both sites share: who serves what, the link, and an environment file that is edited for a while."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
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

    first: str
    newer: str
    aliases: dict[str, bytes]

    def promote(self, environment: str, version: str) -> None:
        with object_store(environment) as s3:
            s3.put_object(Bucket="models", Key=ALIAS_KEY, Body=self.aliases[version])


def two_champions(environment: str, ingress: str) -> Champions:
    """The model that is served, and one that is trained for it; the first is the champion afterwards."""
    with object_store(environment) as s3:
        before = s3.get_object(Bucket="models", Key=ALIAS_KEY)["Body"].read()
    first = json.loads(before)["version"]
    train(environment, seed=23)
    with object_store(environment) as s3:
        # should it be the better one, it has been promoted already
        s3.put_object(Bucket="models", Key=ALIAS_KEY, Body=before)
        listed = s3.list_objects_v2(Bucket="models", Prefix="models/digits/versions/")["Contents"]
        manifests = sorted(one["Key"] for one in listed if one["Key"].endswith("manifest.json"))
        other = next(one for one in manifests if first not in one)
        content = s3.get_object(Bucket="models", Key=other)["Body"].read()
    wait_for("the first model on-prem", lambda: served(ingress) == first)
    newer = json.loads(content)["version"]
    alias = {"version": newer, "manifest_digest": f"sha256:{hashlib.sha256(content).hexdigest()}"}
    return Champions(first=first, newer=newer, aliases={first: before, newer: json.dumps(alias).encode()})
