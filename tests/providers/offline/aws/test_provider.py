"""The aws stand-in: it previews the types that the program uses, makes nothing, and says so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.aws import tokens
from infra.providers.offline.aws.provider import PREVIEWS_ONLY, AwsProvider
from infra.providers.offline.values import decode, encode
from tests.infra.cloud.conftest import ENVIRONMENTS, register

SUBNET = "aws:ec2/subnet:Subnet"


@pytest.fixture(scope="module")
def plugin():
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(AwsProvider(None), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)
    server.stop(None)


def urn(token: str, name: str = "thing") -> str:
    return f"urn:pulumi:prod::isthmus::isthmus:cloud:Cloud$isthmus:cloud:Vpc${token}::{name}"


def check(plugin, token: str, values: dict, olds: dict | None = None, name: str = "thing"):
    return plugin.Check(
        provider_pb2.CheckRequest(
            urn=urn(token, name), news=encode(values), olds=encode(olds or {}), randomSeed=b"seed"
        )
    )


def test_it_knows_exactly_what_the_program_uses() -> None:
    used = {one.type for file in ENVIRONMENTS for one in register(file).resources if one.type.startswith("aws:")}
    assert used == tokens.TYPES.keys()


def test_a_preview_gives_the_inputs_and_leaves_the_rest_unknown(plugin) -> None:
    inputs = {"cidrBlock": "10.0.0.0/24", "vpcId": UNKNOWN, "tags": {"a": "b"}}
    made = plugin.Create(provider_pb2.CreateRequest(urn=urn(SUBNET), properties=encode(inputs), preview=True))
    assert decode(made.properties).values == inputs
    assert made.id == ""


def test_secrets_stay_secret(plugin) -> None:
    inputs = encode({"description": "quiet"}, [("description",)])
    answer = plugin.Check(provider_pb2.CheckRequest(urn=urn(SUBNET), news=inputs))
    assert decode(answer.inputs).secrets == {("description",)}


def test_names_are_made_once_and_kept(plugin) -> None:
    first = decode(check(plugin, "aws:s3/bucket:Bucket", {}, name="models").inputs).values["bucket"]
    assert first.startswith("models-") and len(first) == len("models-") + 7
    again = decode(check(plugin, "aws:s3/bucket:Bucket", {}, {"bucket": "models-0000000"}).inputs).values["bucket"]
    assert again == "models-0000000"
    assert decode(check(plugin, "aws:s3/bucket:Bucket", {"bucket": "mine"}).inputs).values["bucket"] == "mine"


def test_a_type_that_it_does_not_know_is_refused_by_name(plugin) -> None:
    failures = check(plugin, "aws:rds/instance:Instance", {}).failures
    assert "aws:rds/instance:Instance" in failures[0].reason


def test_a_function_is_refused_by_name(plugin) -> None:
    with pytest.raises(grpc.RpcError, match="getAmi"):
        plugin.Invoke(provider_pb2.InvokeRequest(tok="aws:ec2/getAmi:getAmi"))


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        ("Create", provider_pb2.CreateRequest(urn=urn(SUBNET))),
        ("Update", provider_pb2.UpdateRequest(urn=urn(SUBNET))),
        ("Read", provider_pb2.ReadRequest(urn=urn(SUBNET))),
        ("Delete", provider_pb2.DeleteRequest(urn=urn(SUBNET))),
        ("Diff", provider_pb2.DiffRequest(urn=urn(SUBNET))),
    ],
)
def test_it_makes_nothing(plugin, call: str, request_) -> None:
    with pytest.raises(grpc.RpcError, match=PREVIEWS_ONLY):
        getattr(plugin, call)(request_)
