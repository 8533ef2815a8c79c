"""`make backups`: the copies of etcd's backups that the other site keeps, and how one of them is had back."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra import naming
from infra.cloud import lab_site
from infra.environment import Cloud
from ops import engine
from ops.console import Failure, say
from ops.sealed import Forged, Unsealable, unseal
from ops.up import load

PREFIX, SUFFIX = "etcd/", ".cms"
"""Around the host's name, as role etcd_backup writes it."""
OTHER = "take an earlier one, with --before, or another host's"


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One version of a host's object."""

    host: str
    key: str
    version: str
    size: int
    """Bytes."""
    latest: bool
    """Whether it is what the host's object holds now: two may have come in one second."""
    copied: datetime
    """When the bucket got it: within a minute of the backup, if the link was there."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The bucket, and what opens what is in it."""

    client: Any
    bucket: str
    private_key: str
    authority: str | None
    """Whose control planes are believed: the certificate, in PEM. None is anybody."""


def backups(
    environment: str, host: str | None, folder: Path | None, before: str | None, *, unverified: bool = False
) -> int:
    """Lists the copies, or puts one of a host's, opened, below a folder; Failure says what is missing.

    `unverified` opens one also when no control plane of the cluster signed it.
    """
    cloud = load(environment).cloud
    if cloud is None:
        raise Failure(
            f"environment {environment} has one site: its backups are on its control planes alone",
            fix="copy them off the site as docs/restore-etcd.md says",
        )
    if host is not None and folder is None:
        raise Failure(f"there is no folder to put the backup of {host} in", fix=f'ARGS="{host} FOLDER"')
    until = _time(before) if before else None
    place = _place(environment, cloud, unverified=unverified)
    with asking(place.bucket):
        found = sorted(copies(place), key=lambda one: (one.host, one.copied, one.latest))
        if host is None or folder is None:
            show(place.bucket, found)
        else:
            say(f"{fetch(place, newest(found, host, until), folder)} has {host}'s backup: see docs/restore-etcd.md")
    return 0


def _time(text: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise Failure(f"--before is {text!r}", fix="write a time like 2026-01-31T00:30 (UTC)") from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def _place(environment: str, cloud: Cloud, *, unverified: bool) -> Place:
    outputs = json.loads(
        engine.pulumi(environment, "stack", "output", "--json", "--show-secrets", "--stack", environment).stdout
    )
    names = [naming.BACKUPS_BUCKET_OUTPUT, naming.BACKUPS_KEY_OUTPUT] + ([] if unverified else ["kubeconfig"])
    if missing := [name for name in names if not outputs.get(name)]:
        raise Failure(f"the stack {environment} has no {', '.join(missing)} yet", fix=f"make up ENV={environment}")
    there: dict[str, Any] = {}
    if cloud.provisioner == "lab":
        there = {
            "endpoint_url": lab_site.aws_url(cloud),
            "aws_access_key_id": "lab",
            "aws_secret_access_key": "lab",
            "config": Config(s3={"addressing_style": "path"}),
        }
    return Place(
        client=boto3.client("s3", region_name=cloud.region, **there),
        bucket=outputs[naming.BACKUPS_BUCKET_OUTPUT],
        private_key=outputs[naming.BACKUPS_KEY_OUTPUT],
        authority=None if unverified else _authority(outputs["kubeconfig"]),
    )


def _authority(kubeconfig: str) -> str:
    """The certificate, in PEM, of who signs the on-prem control planes' own."""
    (cluster,) = yaml.safe_load(kubeconfig)["clusters"]
    return base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode()


@contextmanager
def asking(bucket: str) -> Iterator[None]:
    """A store that does not answer, or refuses, is one line."""
    try:
        yield
    except (BotoCoreError, ClientError) as fault:
        raise Failure(
            f"bucket {bucket} does not give its backups: {fault}",
            fix="log in to AWS with a role that may read it; of a lab: make status",
        ) from None


def copies(place: Place) -> Iterator[Copy]:
    """Every version of every host's object."""
    for page in place.client.get_paginator("list_object_versions").paginate(Bucket=place.bucket, Prefix=PREFIX):
        for one in page.get("Versions", []):
            yield Copy(
                host=one["Key"].removeprefix(PREFIX).removesuffix(SUFFIX),
                key=one["Key"],
                version=one["VersionId"],
                size=one["Size"],
                latest=one["IsLatest"],
                copied=one["LastModified"],
            )


def show(bucket: str, found: list[Copy]) -> None:
    """A line a host."""
    if not found:
        say(f"bucket {bucket} has no backups yet: a host makes its first a quarter of an hour after it was set up")
    for host in sorted({one.host for one in found}):
        own = [one for one in found if one.host == host]
        last, first = own[-1], _shown(own[0].copied)
        say(f"{host:<20} newest {_shown(last.copied)} ({last.size} bytes), {len(own)} since {first}")


def newest(found: list[Copy], host: str, until: datetime | None) -> Copy:
    """The host's last copy, or its last at that time."""
    own = [one for one in found if one.host == host and (until is None or one.copied <= until)]
    if not own:
        known = ", ".join(sorted({one.host for one in found})) or "no host"
        at = f" at {_shown(until)}" if until else ""
        raise Failure(f"there is no copy of a backup of {host}{at}", fix=f"there are copies of {known}: make backups")
    return own[-1]


def fetch(place: Place, copy: Copy, folder: Path) -> Path:
    """Puts the backup below `folder`, whole or not at all, for its owner alone; the folder that it is."""
    target = folder / copy.host
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".unfinished-") as beside:
        sealed, packed, whole = (Path(beside) / name for name in ("sealed", "packed", "whole"))
        place.client.download_file(place.bucket, copy.key, str(sealed), ExtraArgs={"VersionId": copy.version})
        which = f"the copy of {copy.host}'s backup that came at {_shown(copy.copied)}"
        try:
            unseal(sealed, packed, place.private_key, place.authority)
        except Unsealable as fault:
            raise Failure(
                f"{which} can't be opened: it was changed since, or sealed for another key ({fault})", fix=OTHER
            ) from None
        except Forged as fault:
            raise Failure(
                f"{which} is of no control plane of this cluster: somebody else put it there ({fault})",
                fix=f"{OTHER}; one of an earlier cluster of yours is opened with --unverified",
            ) from None
        whole.mkdir()
        # Debian's tar takes no path that leads out of the folder; Python 3.11.2 would.
        subprocess.run(["tar", "--extract", "--file", packed, "--directory", whole, "--no-same-owner"], check=True)
        (made,) = whole.iterdir()
        if (target / made.name).exists():
            raise Failure(f"{target / made.name} is there already", fix="use it, or name another folder")
        return made.rename(target / made.name)


def _shown(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
