"""A link that is cut: what came is kept, nothing is half done, and the newest champion arrives when it heals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from isthmus_replication import metrics
from isthmus_replication.follow import Follower
from isthmus_replication.store import CHUNK_BYTES, PART_BYTES
from isthmus_training.manifest import Model

MIB = 2**20
LARGE = random.Random(7).randbytes(2 * PART_BYTES + 3 * MIB)
Make = Callable[..., Model]
Publish = Callable[..., None]
Begin = Callable[..., Follower]
Look = Callable[[Follower], str]
Holds = Callable[[Model], bool]
ToLink = Callable[[Any], Any]
Said = Callable[[], list[str]]


def test_a_large_model_goes_on_where_the_cut_was(
    model: Make,
    publish: Publish,
    follower: Begin,
    look: Look,
    holds: Holds,
    link: ToLink,
    source: Any,
    said: Said,
) -> None:
    large, way, received = model(LARGE), link(source), metrics.RECEIVED._value.get()
    publish(large)
    running = follower(way)
    said()
    way.cut_after = cut = PART_BYTES + 5 * MIB  # in the middle of the second part
    assert look(running) == "source_unreachable"
    kept = running.scratch.received
    assert cut - 2 * CHUNK_BYTES < kept < cut, "also what came of the part that was cut is kept"
    assert way.ranges("model.onnx") == [0, PART_BYTES]
    assert [look(running) for _ in range(3)] == ["source_unreachable"] * 3
    assert len(said()) == 1, "a cut is said once"
    way.heal()
    assert look(running) == "replicated"
    assert holds(large)
    assert way.ranges("model.onnx") == [0, PART_BYTES, kept], "nothing that came was read again"
    assert metrics.RECEIVED._value.get() - received == len(LARGE)
    assert way.answered < len(LARGE) + 2 * CHUNK_BYTES


def test_a_model_that_was_written_anew_during_the_cut_is_read_anew(
    model: Make, publish: Publish, follower: Begin, look: Look, holds: Holds, link: ToLink, source: Any
) -> None:
    content = LARGE[: 2 * MIB]
    good, way = model(content), link(source)
    publish(good, onnx=bytes(MIB) + content[MIB:])
    running = follower(way)
    way.cut_after = MIB
    assert look(running) == "source_unreachable"
    assert running.scratch.received
    publish(good)
    way.heal()
    assert look(running) == "replicated"
    assert holds(good)


def test_a_destination_that_goes_away_costs_the_link_no_second_copy(
    model: Make,
    publish: Publish,
    follower: Begin,
    look: Look,
    holds: Holds,
    link: ToLink,
    source: Any,
    destination: Any,
) -> None:
    large, here, there = model(LARGE), link(source), link(destination)
    publish(large)
    running = follower(here, there)
    there.cut_at = r"PUT \S+partNumber=2"
    assert look(running) == "destination_unreachable"
    there.heal()
    assert look(running) == "replicated"
    assert holds(large)
    assert here.ranges("model.onnx") == [0, PART_BYTES, 2 * PART_BYTES]


@pytest.mark.parametrize("file", ["model.onnx", "manifest.json", "champion.json"])
def test_a_process_that_dies_before_any_write_leaves_the_old_champion_and_the_next_one_finishes(
    model: Make,
    publish: Publish,
    follower: Begin,
    look: Look,
    holds: Holds,
    link: ToLink,
    destination: Any,
    file: str,
) -> None:
    old, new, way = model(b"old model"), model(b"new model"), link(destination)
    publish(old)
    look(follower())
    publish(new)
    first = follower(destination=way)
    way.cut_at = rf"PUT \S+{file} "
    assert look(first) == "destination_unreachable"
    assert way.is_cut.is_set()
    assert holds(old)
    there = [key.split("/")[-1] for key in destination.listing() if new.version in key]
    assert there == {"model.onnx": [], "manifest.json": ["model.onnx"]}.get(file, ["manifest.json", "model.onnx"])
    del first
    assert look(follower()) == "replicated"
    assert holds(new)


def test_the_newest_champion_arrives_by_itself_when_the_link_heals(
    model: Make,
    publish: Publish,
    follower: Begin,
    holds: Holds,
    link: ToLink,
    source: Any,
    said: Said,
) -> None:
    models, way = [model(f"model {n}".encode()) for n in range(3)], link(source)
    publish(models[0])
    running, results = follower(way), asyncio.Queue()  # type: ignore[var-annotated]
    check = running.check

    async def noted() -> str:
        results.put_nowait(result := await check())
        return result

    async def until(wanted: str, times: int = 1) -> None:
        while times:
            times -= await results.get() == wanted

    async def scenario() -> None:
        working = asyncio.create_task(running.run())
        await until("replicated")
        way.cut()
        await until("source_unreachable", times=5)
        for each in models[1:]:
            publish(each)
        way.heal()
        await until("replicated")
        await until("unchanged")
        working.cancel()

    running.check = noted  # type: ignore[method-assign]
    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert holds(models[2])
    assert len([line for line in said() if "did not read" in line]) == 1, "a cut is said once"


def test_a_cut_without_news_is_said_to_be_over(
    model: Make,
    publish: Publish,
    follower: Begin,
    look: Look,
    link: ToLink,
    source: Any,
    said: Said,
) -> None:
    publish(model(b"a model"))
    way = link(source)
    running = follower(way)
    look(running)
    way.cut()
    look(running)
    way.heal()
    said()
    assert [look(running), look(running)] == ["unchanged", "unchanged"]
    assert said() == ["both stores answer, and the champion is as it was"]


def test_each_way_to_be_turned_away_has_its_own_reason(
    model: Make,
    publish: Publish,
    follower: Begin,
    look: Look,
    tmp_path: Path,
    said: Said,
) -> None:
    publish(model(b"a model"))
    assert look(follower(ISTHMUS_SOURCE_BUCKET="no-such-bucket")) == "source_no_bucket"
    assert look(follower(ISTHMUS_DESTINATION_BUCKET="no-such-bucket")) == "destination_no_bucket"
    assert look(follower(ISTHMUS_DESTINATION_ENDPOINT="http://127.0.0.1:9")) == "destination_unreachable"
    running = follower()
    (tmp_path / "access_key_id").unlink()
    assert look(running) == "source_denied"
    lines = said()
    assert "source bucket no-such-bucket at http://" in lines[0] and "no such bucket" in lines[0]
    assert "Fix: check its keys" in lines[3]
