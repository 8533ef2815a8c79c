"""What is copied, in which order, and what is refused."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from isthmus_inference.settings import load as inference_settings
from isthmus_inference.watch import Serving, Watcher
from isthmus_replication import follow, metrics, store
from isthmus_replication.faults import Fault
from isthmus_replication.scratch import Scratch
from isthmus_training.manifest import Model, canonical
from isthmus_training.publish import publish as training_publishes
from isthmus_training.settings import load as training_settings
from isthmus_training.store import Store as TrainingStore

ALIAS = "models/digits/aliases/champion.json"
Make = Callable[..., Model]
Publish = Callable[..., None]
Begin = Callable[..., follow.Follower]
Look = Callable[[follow.Follower], str]
Holds = Callable[[Model], bool]
ToLink = Callable[[Any], Any]
Said = Callable[[], list[str]]


def failures(reason: str) -> float:
    return metrics.FAILURES.labels(reason)._value.get()


def test_a_champion_is_copied_whole_and_looking_again_writes_nothing(
    model: Make, publish: Publish, follower: Begin, look: Look, holds: Holds, link: ToLink, destination: Any
) -> None:
    first, way = model(b"first model"), link(destination)
    publish(first)
    running = follower(destination=way)
    assert look(running) == "replicated"
    assert holds(first)
    assert way.writes() == ["model.onnx", "manifest.json", "champion.json"], "the alias goes last"
    assert follow.CHAMPION.labels("digits", first.version, json.loads(first.manifest)["onnx"]["digest"])._value.get()
    assert look(running) == "unchanged"
    assert look(follower(destination=way)) == "verified", "a new process reads, and finds all of it there"
    assert len(way.writes()) == 3


def test_looking_costs_two_conditional_reads(
    model: Make, publish: Publish, follower: Begin, look: Look, link: ToLink, source: Any, destination: Any
) -> None:
    publish(model(b"a model"))
    here, there = link(source), link(destination)
    running = follower(here, there)
    look(running)
    before = len(here.requests), len(there.requests)
    assert look(running) == "unchanged"
    assert (len(here.requests), len(there.requests)) == (before[0] + 1, before[1] + 1)
    assert ALIAS in here.requests[-1] and ALIAS in there.requests[-1]


def test_what_training_publishes_in_one_store_serving_takes_from_the_other(
    trained: Callable[[int], Model], follower: Begin, look: Look, source: Any, destination: Any
) -> None:
    trained_model = trained(17)
    training_publishes(TrainingStore(training_settings(source.variables), print), "digits", trained_model)
    alias = {"version": trained_model.version, "manifest_digest": trained_model.manifest_digest}
    source.put(ALIAS, canonical(alias))
    assert look(follower()) == "replicated"
    assert destination.get(ALIAS) == canonical(alias)
    serving = Serving()
    assert look(Watcher(inference_settings(destination.variables), serving)) == "loaded"
    assert serving.model is not None
    assert serving.model.version == trained_model.version


def test_without_a_champion_there_is_nothing_to_do_yet(
    model: Make, publish: Publish, follower: Begin, look: Look, holds: Holds, said: Said
) -> None:
    running, first = follower(), model(b"first model")
    assert [look(running), look(running)] == ["no_champion", "no_champion"]
    assert len(said()) == 1
    publish(first)
    assert look(running) == "replicated"
    assert holds(first)


def test_going_back_to_an_earlier_version_moves_the_alias_alone(
    model: Make, publish: Publish, follower: Begin, look: Look, holds: Holds, link: ToLink, destination: Any
) -> None:
    first, second = model(b"first model"), model(b"second model")
    way = link(destination)
    running = follower(destination=way)
    for each in (first, second):
        publish(each)
        assert look(running) == "replicated"
    way.requests.clear()
    publish(first)
    assert look(running) == "replicated"
    assert holds(first)
    assert way.writes() == ["champion.json"]


@pytest.mark.parametrize("damage", ["model.onnx", "manifest.json", "champion.json"])
def test_what_was_damaged_at_the_destination_is_mended(
    model: Make,
    publish: Publish,
    follower: Begin,
    look: Look,
    holds: Holds,
    link: ToLink,
    destination: Any,
    damage: str,
) -> None:
    first, way = model(b"first model"), link(destination)
    publish(first)
    look(follower())
    key = next(key for key in destination.listing() if key.endswith(damage))
    destination.put(key, destination.get(key)[::-1])
    assert look(follower(destination=way)) == "replicated"
    assert holds(first)
    assert way.writes() == [damage]


def test_an_alias_that_means_the_same_is_left_as_it_is(
    model: Make, publish: Publish, follower: Begin, look: Look, destination: Any
) -> None:
    first = model(b"first model")
    publish(first)
    look(follower())
    by_hand = b'{ "manifest_digest": "%s", "version": "%s" }' % (
        first.manifest_digest.encode(),
        first.version.encode(),
    )
    destination.put(ALIAS, by_hand)
    assert look(follower()) == "verified"
    assert destination.get(ALIAS) == by_hand


NEW = b"the new model"
DAMAGE: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "other bytes": ({}, {"onnx": NEW[::-1]}, "model.onnx has digest"),
    "a byte too few": ({}, {"onnx": NEW[:-1]}, "model.onnx has 12 bytes, 13 were promised"),
    "no model": ({}, {"onnx": None}, "has no models/digits/versions/"),
    "other manifest": ({}, {"manifest": b"{}"}, "the alias promises sha256:"),
    "no manifest": ({}, {"manifest": None}, "has no models/digits/versions/"),
    "manifest without a digest": ({"onnx": {"size": 3}}, {}, "can't be read: onnx.digest: Field required"),
    "of another model": ({"model": "letters"}, {}, "manifest.json is of letters"),
    "of another version": ({"version": "another"}, {}, "manifest.json is of digits another"),
    "of a later format": ({"format": 2}, {}, "has format 2"),
    "an alias that is no JSON": ({}, {"alias": b"nothing"}, "alias can't be read: content: Invalid JSON"),
    "an alias out of its folder": ({}, {"alias": b'{"version": "../x", "manifest_digest": ""}'}, "version: String"),
}


@pytest.mark.parametrize(("change", "damage", "words"), DAMAGE.values(), ids=DAMAGE)
def test_a_model_that_breaks_its_promise_is_refused_and_the_old_champion_stays(
    model: Make,
    publish: Publish,
    follower: Begin,
    look: Look,
    holds: Holds,
    link: ToLink,
    source: Any,
    destination: Any,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    damage: dict[str, Any],
    words: str,
) -> None:
    old, here, there = model(b"the old model"), link(source), link(destination)
    publish(old)
    running = follower(here, there)
    look(running)
    before, counted = destination.listing(), failures("refused")
    publish(model(NEW, **change), **damage)
    said()
    assert look(running) == "refused"
    asked = len(here.requests)
    assert look(running) == "refused"
    (line,) = said()
    assert words in line
    assert len(here.requests) == asked + 1, "until a minute has passed, the alias alone is looked at"
    assert failures("refused") == counted + 2
    assert len(there.writes()) == 3 and destination.listing() == before and holds(old), "nothing changed there"
    monkeypatch.setattr(follow, "REFUSED_AGAIN_SECONDS", 0)
    running.refusal = None
    good = model(NEW)
    publish(good)
    assert look(running) == "replicated"
    assert holds(good)


def test_a_refused_model_that_is_mended_is_taken_after_a_while(
    model: Make, publish: Publish, follower: Begin, look: Look, holds: Holds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "REFUSED_AGAIN_SECONDS", 0)
    running, good = follower(), model(NEW)
    publish(good, onnx=NEW[::-1])
    assert look(running) == "refused"
    publish(good)
    assert look(running) == "replicated"
    assert holds(good)


def test_a_model_that_scratch_space_cannot_hold_is_refused_with_the_fix(
    model: Make, publish: Publish, follower: Begin, look: Look, destination: Any, said: Said
) -> None:
    publish(model(NEW))
    assert look(follower(ISTHMUS_SCRATCH_BYTES="12")) == "refused"
    assert "13 bytes; ISTHMUS_SCRATCH_BYTES allows 12. Fix: raise it" in said()[-1]
    assert destination.listing() == []


def test_a_destination_that_reads_back_something_else_does_not_get_the_alias(
    model: Make,
    publish: Publish,
    follower: Begin,
    look: Look,
    holds: Holds,
    monkeypatch: pytest.MonkeyPatch,
    said: Said,
) -> None:
    old, write = model(b"the old model"), store.Store.write

    async def lossy(self: store.Store, key: str, content: bytes, *rest: object) -> None:
        await write(self, key, content[:-1] + b"?" if key.endswith("model.onnx") else content, *rest)

    publish(old)
    running = follower()
    look(running)
    monkeypatch.setattr(store.Store, "write", lossy)
    publish(model(NEW))
    assert look(running) == "unverified"
    assert "reads back changed from destination bucket" in said()[-1]
    assert holds(old)


def test_scratch_space_that_is_full_is_named_and_keeps_what_came(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, 100)
    scratch.append(b"abc")
    file = scratch.file

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    scratch.file = Full()
    with pytest.raises(Fault, match=r"ISTHMUS_SCRATCH_DIR: No space left on device.* 100 bytes"):
        scratch.append(b"def")
    scratch.file = file
    scratch.append(b"def")
    assert b"".join(scratch.content()) == b"abcdef"
