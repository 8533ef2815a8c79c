"""The provider as the engine sees it, over gRPC, with a resource that does as the test says."""

# The toy does without most of what a handler is told.
# ruff: noqa: ARG002

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import grpc
import pytest
from google.protobuf import struct_pb2
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

from infra.providers.isthmus.handler import Change, Context, PartialFailure, ResourceError
from infra.providers.isthmus.provider import IsthmusProvider
from infra.providers.isthmus.server import Servicer

URN = "urn:pulumi:local::isthmus::test:index:Toy::one"


class Toy:
    """Its `mood` input decides what happens."""

    token: ClassVar[str] = "test:index:Toy"
    outputs: ClassVar[tuple[str, ...]] = ("key",)
    secrets: ClassVar[frozenset[str]] = frozenset({"key"})
    together: ClassVar[threading.Barrier] = threading.Barrier(2)

    def check(self, news: dict[str, Any]) -> dict[str, str]:
        return {"mood": "is bad; take another"} if news["mood"] == "bad" else {}

    def diff(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> list[Change]:
        if olds["mood"] == news["mood"]:
            return []
        return [Change(path='mood["x"]', kind="update", replace=news["mood"] == "new", detail="it differs")]

    def create(self, ctx: Context, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        match news["mood"]:
            case "refused":
                raise ResourceError("the toy is taken: give it back")
            case "bug":
                raise ZeroDivisionError("a bug")
            case "partial":
                raise PartialFailure("the toy is half made", rid="toy-1", state={**news, "key": "k"})
            case "together":
                self.together.wait(timeout=10)
        return "toy-1", {**news, "key": "k"}

    def read(self, ctx: Context, rid: str, state: dict[str, Any]) -> dict[str, Any] | None:
        return None if state["mood"] == "gone" else state

    def update(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        return {**news, "key": olds["key"]}

    def delete(self, ctx: Context, rid: str, state: dict[str, Any]) -> None:
        pass


def ask(conversation: Callable[[provider_pb2_grpc.ResourceProviderStub], Awaitable[Any]]) -> Any:
    """Serve the toy on loopback, and let the conversation talk to it."""

    async def run() -> Any:
        server = grpc.aio.server()
        servicer = Servicer([], "0", IsthmusProvider([Toy()]), engine_address="")
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                return await conversation(provider_pb2_grpc.ResourceProviderStub(channel))
        finally:
            await server.stop(None)

    return asyncio.run(run())


def struct(**values: Any) -> struct_pb2.Struct:
    return PropertyValue.marshal_map({key: PropertyValue(value) for key, value in values.items()})


def create(mood: str, *, preview: bool = False) -> Any:
    request = provider_pb2.CreateRequest(urn=URN, properties=struct(mood=mood), preview=preview)
    return ask(lambda stub: stub.Create(request))


def test_create_hands_the_declared_secret_back_encrypted() -> None:
    answer = create("good")
    assert answer.id == "toy-1"
    assert PropertyValue.unmarshal_map(answer.properties)["key"] == PropertyValue("k", is_secret=True)


def test_a_preview_makes_nothing_and_says_what_is_unknown() -> None:
    answer = create("bug", preview=True)
    key = PropertyValue.unmarshal_map(answer.properties)["key"]
    assert (key.value, key.is_secret) == (rpc.UNKNOWN, True)


def test_a_refusal_reaches_the_person_as_it_was_written() -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        create("refused")
    assert caught.value.details() == "the toy is taken: give it back"


def test_a_bug_leaves_its_traceback_in_the_log_only(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        create("bug")
    assert caught.value.details() == "a bug"
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_half_made_resource_keeps_its_state() -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        create("partial")
    metadata = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])
    failed = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(failed)
    assert (failed.id, list(failed.reasons)) == ("toy-1", ["the toy is half made"])
    assert PropertyValue.unmarshal_map(failed.properties)["key"].is_secret


def test_two_resources_are_made_side_by_side() -> None:
    request = provider_pb2.CreateRequest(urn=URN, properties=struct(mood="together"))
    both = ask(lambda stub: asyncio.gather(stub.Create(request), stub.Create(request)))
    assert [answer.id for answer in both] == ["toy-1", "toy-1"], "each waits until the other has begun"


def test_check_names_the_property_and_the_reason() -> None:
    answer = ask(lambda stub: stub.Check(provider_pb2.CheckRequest(urn=URN, news=struct(mood="bad"))))
    assert [(failure.property, failure.reason) for failure in answer.failures] == [("mood", "is bad; take another")]


def test_a_diff_is_given_property_by_property() -> None:
    def diff(before: str, after: str) -> Any:
        request = provider_pb2.DiffRequest(urn=URN, id="toy-1", olds=struct(mood=before), news=struct(mood=after))
        return ask(lambda stub: stub.Diff(request))

    assert diff("a", "a").changes == provider_pb2.DiffResponse.DIFF_NONE
    update, replacement = diff("a", "b"), diff("a", "new")
    assert update.detailedDiff['mood["x"]'].kind == provider_pb2.PropertyDiff.UPDATE
    assert list(update.replaces) == []
    assert list(replacement.replaces) == ["mood"]
    assert replacement.deleteBeforeReplace, "a name or an address exists once"


def test_read_of_a_lost_resource_has_no_id() -> None:
    def read(mood: str) -> str:
        request = provider_pb2.ReadRequest(urn=URN, id="toy-1", properties=struct(mood=mood, key="k"))
        return ask(lambda stub: stub.Read(request)).id

    assert (read("good"), read("gone")) == ("toy-1", "")


def test_the_preview_of_an_update_keeps_known_outputs() -> None:
    request = provider_pb2.UpdateRequest(
        urn=URN, id="toy-1", olds=struct(mood="a", key="k"), news=struct(mood="b"), preview=True
    )
    answer = PropertyValue.unmarshal_map(ask(lambda stub: stub.Update(request)).properties)
    assert (answer["mood"].value, answer["key"].value) == ("b", "k")


def test_an_unknown_type_is_refused_by_name() -> None:
    request = provider_pb2.CreateRequest(urn=URN.replace("Toy", "Ball"), properties=struct(mood="good"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        ask(lambda stub: stub.Create(request))
    assert caught.value.details() == "the provider isthmus has no resource type test:index:Ball; it has test:index:Toy"
