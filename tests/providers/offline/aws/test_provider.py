"""The aws stand-in without an endpoint: it previews the types that the program uses, and makes nothing."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from infra.cloud.user_data import user_data
from infra.providers.isthmus.handler import UNKNOWN
from infra.providers.offline.aws.kinds import KINDS
from infra.providers.offline.aws.provider import AwsProvider
from infra.providers.offline.aws.settings import Settings
from infra.providers.offline.aws.things import Things
from infra.providers.offline.values import decode, encode
from tests.infra.cloud.conftest import ENVIRONMENTS, register

SUBNET = "aws:ec2/subnet:Subnet"


@contextmanager
def serving():
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(AwsProvider(None), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield provider_pb2_grpc.ResourceProviderStub(channel)
    server.stop(None)


@pytest.fixture(scope="module")
def plugin():
    with serving() as stub:
        yield stub


def configure(plugin, url: str) -> None:
    settings = {"region": "eu-central-1", "endpoints": json.dumps([{"ec2": url}]), "accessKey": "a", "secretKey": "b"}
    plugin.Configure(provider_pb2.ConfigureRequest(args=encode(settings)))


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
    assert used == KINDS.keys()


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


@pytest.mark.parametrize(("name", "first"), [("general-0a1b2c3", False), ("general", True)])
def test_what_replaces_a_thing_comes_first_unless_it_has_to_have_its_name(plugin, name: str, first: bool) -> None:
    olds = {"nodeGroupName": name, "capacityType": "SPOT"}
    diff = plugin.Diff(
        provider_pb2.DiffRequest(
            id=f"cloud:{name}",
            urn=urn("aws:eks/nodeGroup:NodeGroup", "general"),
            olds=encode(olds),
            old_inputs=encode(olds),
            news=encode({**olds, "capacityType": "ON_DEMAND"}),
        )
    )
    assert list(diff.replaces) == ["capacityType"]
    assert diff.deleteBeforeReplace is first


def test_a_type_that_it_does_not_know_is_refused_by_name(plugin) -> None:
    failures = check(plugin, "aws:rds/instance:Instance", {}).failures
    assert "aws:rds/instance:Instance" in failures[0].reason


def test_a_function_is_refused_by_name(plugin) -> None:
    with pytest.raises(grpc.RpcError, match="getAmi"):
        plugin.Invoke(provider_pb2.InvokeRequest(tok="aws:ec2/getAmi:getAmi"))


def test_without_an_endpoint_it_makes_nothing(plugin) -> None:
    with pytest.raises(grpc.RpcError, match="lab's endpoint only"):
        plugin.Create(provider_pb2.CreateRequest(urn=urn(SUBNET), properties=encode({"vpcId": "vpc-1"})))


def test_an_api_that_is_down_is_one_clear_error() -> None:
    with serving() as plugin:
        configure(plugin, "http://127.0.0.1:9")
        inputs = encode({"cidrBlock": "10.0.0.0/16"})
        with pytest.raises(grpc.RpcError) as caught:
            plugin.Create(provider_pb2.CreateRequest(urn=urn("aws:ec2/vpc:Vpc", "vpc"), properties=inputs))
    said = caught.value.details()
    assert said.startswith("aws:ec2/vpc:Vpc vpc: create: the AWS API does not answer") and "make up" in said
    assert "\n" not in said


def test_many_threads_get_one_client_of_a_service_and_none_is_made_beside_another() -> None:
    class Slow(Settings):
        """Long enough at it that threads meet, which with boto3's own they do by chance."""

        def client(self, service: str) -> Any:
            making.append(service)
            assert len(making) - len(made) == 1, "boto3 makes clients of one session at a time"
            time.sleep(0.02)
            made.append(service)
            return object()

    making: list[str] = []
    made: list[str] = []
    things = Things(Slow(endpoints={}), print)
    services = ["ec2", "iam", "s3"] * 8
    with ThreadPoolExecutor(len(services)) as pool:
        found = list(pool.map(things._client, services))
    assert sorted(made) == ["ec2", "iam", "s3"]
    assert len({id(one) for one in found}) == 3


def test_what_aws_refuses_names_the_thing_the_call_and_the_reason(endpoint: str) -> None:
    with serving() as plugin:
        configure(plugin, endpoint)
        inputs = encode({"vpcId": "vpc-0", "cidrBlock": "10.0.0.0/24", "availabilityZone": "eu-central-1a"})
        with pytest.raises(grpc.RpcError) as caught:
            plugin.Create(provider_pb2.CreateRequest(urn=urn(SUBNET, "private-a"), properties=inputs))
    assert caught.value.details().startswith(f"{SUBNET} private-a: create: CreateSubnet: InvalidVpcID.NotFound: ")


def test_what_nodes_start_with_is_in_the_template_that_they_are_launched_from(endpoint: str, aws) -> None:
    with serving() as plugin:
        configure(plugin, endpoint)
        inputs = {"name": "general-0a1b2c3", "userData": user_data()}
        token = "aws:ec2/launchTemplate:LaunchTemplate"
        plugin.Create(provider_pb2.CreateRequest(urn=urn(token, "general"), properties=encode(inputs)))
    (made,) = aws("ec2").describe_launch_template_versions(LaunchTemplateName=inputs["name"])["LaunchTemplateVersions"]
    assert made["LaunchTemplateData"]["UserData"] == user_data()


def test_a_subnet_that_names_no_zone_gets_one(endpoint: str) -> None:
    with serving() as plugin:
        configure(plugin, endpoint)

        def made(token: str, values: dict) -> dict:
            answer = plugin.Create(provider_pb2.CreateRequest(urn=urn(token), properties=encode(values)))
            return decode(answer.properties).values | {"id": answer.id}

        vpc = made("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"})
        inputs = {"vpcId": vpc["id"], "cidrBlock": "10.0.0.0/24"}
        subnet = made(SUBNET, inputs)
        assert subnet["availabilityZone"].startswith("eu-central-1")
        same = plugin.Diff(
            provider_pb2.DiffRequest(
                id=subnet["id"],
                urn=urn(SUBNET),
                olds=encode({key: value for key, value in subnet.items() if key != "id"}),
                old_inputs=encode(inputs),
                news=encode(inputs),
            )
        )
        assert same.changes == provider_pb2.DiffResponse.DIFF_NONE, list(same.replaces)
