"""What of hosts' backups is copied, and what is refused."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from isthmus_replication.backups import TAKEN, Backups
from isthmus_replication.settings import BadSettings, load

ToLink = Callable[[Any], Any]
Said = Callable[[], list[str]]


def put(bucket: Any, host: str, content: bytes, taken: object, **metadata: str) -> None:
    """As a host does."""
    found = {"sha256": hashlib.sha256(content).hexdigest(), "taken": str(taken), **metadata}
    bucket.client.put_object(Bucket=bucket.name, Key=f"etcd/{host}.cms", Body=content, Metadata=found)


def got(bucket: Any, host: str) -> tuple[bytes, dict[str, str]]:
    found = bucket.client.get_object(Bucket=bucket.name, Key=f"etcd/{host}.cms")
    return found["Body"].read(), found["Metadata"]


def told(host: str) -> float:
    return TAKEN.labels(host)._value.get()


@pytest.fixture
def begin(variables: dict[str, str]) -> Callable[..., Backups]:
    """A process that begins, of hosts one and two."""

    def new(**links: Any) -> Backups:
        found = {**variables, "ISTHMUS_BACKUPS_OF": "one,two"}
        for side, link in links.items():
            found[f"ISTHMUS_{side.upper()}_ENDPOINT"] = link.endpoint
        return Backups(load(found), lambda: None)

    return new


def look(backups: Backups) -> str:
    return asyncio.run(backups.check())


def test_each_hosts_newest_is_copied_with_what_is_said_of_it(
    begin: Callable[..., Backups], source: Any, destination: Any, said: Said
) -> None:
    running = begin()
    assert look(running) == "unchanged", "there is none yet"
    put(source, "one", b"sealed", 1_780_000_000)
    assert look(running) == "copied"
    assert said()[-1] == "one's backup of 2026-05-28T20:26:40Z, 6 bytes"
    assert got(destination, "one") == got(source, "one")
    assert (told("one"), told("two")) == (1_780_000_000, 0)
    put(source, "one", b"sealed anew", 1_780_021_600)
    put(source, "two", b"another", 1_780_003_600)
    assert look(running) == "copied"
    assert [got(destination, host)[0] for host in ("one", "two")] == [b"sealed anew", b"another"]
    assert (told("one"), told("two")) == (1_780_021_600, 1_780_003_600)


def test_what_is_there_is_not_read_again(
    begin: Callable[..., Backups], source: Any, destination: Any, link: ToLink
) -> None:
    put(source, "one", b"sealed", 1)
    assert look(begin()) == "copied"
    here, there = link(source), link(destination)
    assert look(begin(source=here, destination=there)) == "unchanged"
    assert {request.split()[0] for request in here.requests + there.requests} == {"HEAD"}


def test_earlier_ones_are_versions_at_the_destination(
    begin: Callable[..., Backups], source: Any, destination: Any
) -> None:
    versioning = {"Status": "Enabled"}
    destination.client.put_bucket_versioning(Bucket=destination.name, VersioningConfiguration=versioning)
    for number in (1, 2, 3):
        put(source, "one", b"sealed %d" % number, number)
        look(begin())
    assert len(destination.client.list_object_versions(Bucket=destination.name)["Versions"]) == 3


def test_a_large_one_goes_on_after_a_cut_where_it_was(
    begin: Callable[..., Backups], source: Any, destination: Any, link: ToLink
) -> None:
    large = bytes(range(256)) * 2**17  # 32 MiB, four parts
    put(source, "one", large, 7)
    way = link(source)
    way.cut_after = 20 * 2**20
    running = begin(source=way)
    assert look(running) == "source_unreachable"
    assert told("one") == 0
    way.heal()
    assert look(running) == "copied"
    assert got(destination, "one")[0] == large
    assert way.answered < len(large) + 3 * 2**20


def test_a_damaged_one_is_refused_and_the_others_are_copied(
    begin: Callable[..., Backups], source: Any, destination: Any, said: Said
) -> None:
    put(source, "one", b"sealed", 1)
    look(begin())
    put(source, "one", b"damaged", 2, sha256="0" * 64)
    put(source, "two", b"another", 3)
    assert look(begin()) == "refused"
    assert f"etcd/one.cms has digest sha256:{hashlib.sha256(b'damaged').hexdigest()}" in said()[-1]
    assert got(destination, "one")[0] == b"sealed", "the earlier one stays"
    assert got(destination, "two")[0] == b"another"
    assert (told("one"), told("two")) == (1, 3)


@pytest.mark.parametrize("metadata", [{"sha256": "abc"}, {"taken": "yesterday"}])
def test_one_that_does_not_say_what_it_is_is_refused(
    begin: Callable[..., Backups], source: Any, destination: Any, metadata: dict[str, str], said: Said
) -> None:
    put(source, "one", b"sealed", **{"taken": 1, **metadata})
    assert look(begin()) == "refused"
    assert "must have bytes, and metadata sha256 and taken" in said()[-1]
    assert destination.listing() == []


def test_names_that_are_no_hosts_are_refused(variables: dict[str, str]) -> None:
    with pytest.raises(BadSettings, match=r"ISTHMUS_BACKUPS_OF: it is 'one,\.\./two'; it must be names of hosts"):
        load({**variables, "ISTHMUS_BACKUPS_OF": "one,../two"})
