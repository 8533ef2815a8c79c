"""What AWS refuses, and what it leaves half done: told by name, kept in the state, and finished by the next run.

The real engine and the stand-in, at moto, in front of which a test turns single calls down. The tests are a story.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from infra.paths import ROOT
from tests.providers.offline.aws.conftest import REGION
from tests.providers.offline.engine import Run, Stack

pytestmark = pytest.mark.engine

PROGRAM = """
import sys
sys.path.insert(0, {root!r})
import json, pulumi, pulumi_aws as aws
from infra.cloud.provider import SERVICES
api = aws.Provider("aws", region="{region}", access_key="lab", secret_key="lab", skip_credentials_validation=True,
                   endpoints=[aws.ProviderEndpointArgs(**dict.fromkeys(SERVICES, "{endpoint}"))])
to = pulumi.ResourceOptions(provider=api)
vpc = aws.ec2.Vpc("vpc", cidr_block="10.42.0.0/16", enable_dns_hostnames=True, enable_dns_support=True, opts=to)
aws.ec2.InternetGateway("internet", vpc_id=vpc.id, opts=to)
subnets = [
    aws.ec2.Subnet(zone, vpc_id=vpc.id, cidr_block=cidr, availability_zone="{region}" + zone, opts=to)
    for zone, cidr in (("a", "10.42.0.0/24"), ("b", "10.42.1.0/24"))
]
trust = json.dumps({{"Version": "2012-10-17", "Statement": []}})
role = aws.iam.Role("role", assume_role_policy=trust, opts=to)
key = aws.kms.Key("key", description="secrets", policy=trust, enable_key_rotation=True, deletion_window_in_days=7,
                  opts=to)
cluster = aws.eks.Cluster(
    "cluster", name="cloud", version="1.35", role_arn=role.arn, opts=to, bootstrap_self_managed_addons=False,
    deletion_protection=False, enabled_cluster_log_types=["api"],
    vpc_config={{"subnet_ids": [one.id for one in subnets], "endpoint_private_access": True}},
    kubernetes_network_config={{"ip_family": "ipv4", "service_ipv4_cidr": "10.100.0.0/16"}},
    access_config={{"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": False}},
    encryption_config={{"resources": ["secrets"], "provider": {{"key_arn": key.arn}}}},
    upgrade_policy={{"support_type": "STANDARD"}},
)
"""

Answer = tuple[str, dict[str, str], bytes]
Fault = Callable[[dict[str, Any], bytes], Answer | None]
"""Given a request and its body, the answer in place of AWS's; None lets it through."""


def refusal(action: str, code: str, message: str) -> Fault:
    """EC2's answer to a call, in XML."""
    said = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"
    answer = ("400 Bad Request", {"Content-Type": "text/xml"}, said.encode())
    return lambda _request, body: answer if f"Action={action}&".encode() in body + b"&" else None


def turned_down(method: str, path: str, code: str, message: str) -> Fault:
    """EKS's refusal of a call, in JSON."""
    return said(method, path, {"message": message}, status="400 Bad Request", **{"x-amzn-errortype": code})


def said(method: str, path: str, words: dict[str, Any], status: str = "200 OK", **headers: str) -> Fault:
    """Whatever is to be EKS's answer to a call."""
    answer = (status, {"Content-Type": "application/json", **headers}, json.dumps(words).encode())
    return lambda request, _: answer if (request["REQUEST_METHOD"], request["PATH_INFO"]) == (method, path) else None


class Faulty:
    """moto behind a hand that turns calls down, and notes the calls that got through."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.calls: list[str] = []
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, request: dict[str, Any], start: Any) -> Any:
        body = request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        for fault in self.faults:
            if answer := fault(request, body):
                start(answer[0], list(answer[1].items()))
                return [answer[2]]
        self.calls.append(f"{request['REQUEST_METHOD']} {request['PATH_INFO']} {body.decode(errors='replace')}")
        return self._moto({**request, "wsgi.input": io.BytesIO(body)}, start)

    def made(self, call: str) -> int:
        """How often a call got through."""
        return sum(call in one for one in self.calls)


@pytest.fixture(scope="module")
def amazon() -> Iterator[tuple[Faulty, str]]:
    faulty = Faulty()
    server = make_server("127.0.0.1", 0, faulty, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield faulty, f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def stack(amazon: tuple[Faulty, str], tmp_path_factory: pytest.TempPathFactory) -> Stack:
    made = Stack(folder=Path(tmp_path_factory.mktemp("faults")) / "project", package="aws", prelude="")
    made.prepare()
    made.program(PROGRAM.format(root=str(ROOT), region=REGION, endpoint=amazon[1]))
    return made


@pytest.fixture
def faulty(amazon: tuple[Faulty, str]) -> Iterator[Faulty]:
    """The faults of one test."""
    yield amazon[0]
    amazon[0].faults.clear()
    amazon[0].calls.clear()


def client(amazon: tuple[Faulty, str], service: str) -> Any:
    there = {"endpoint_url": amazon[1], "region_name": REGION}
    return boto3.client(service, **there, aws_access_key_id="lab", aws_secret_access_key="lab")


def up(stack: Stack) -> Run:
    """Makes all that it can, whatever fails first."""
    return stack.up("--continue-on-error")


def failed(run: Run, *words: str) -> None:
    assert run.code != 0
    for word in words:
        assert word in run.diagnostics, run.text[-3000:]


def test_who_is_not_logged_in_any_longer_is_told_how(stack: Stack, faulty: Faulty, amazon: tuple[Faulty, str]) -> None:
    faulty.faults.append(refusal("CreateVpc", "ExpiredToken", "The security token included in the request is expired"))
    failed(up(stack), "vpc: create: CreateVpc: ExpiredToken: ", "log in again: aws sso login")
    assert not client(amazon, "ec2").describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.42.0.0/16"]}])["Vpcs"]


def test_a_quota_that_is_reached_is_told_and_all_else_is_made(stack: Stack, faulty: Faulty) -> None:
    reached = "Cluster limit exceeded for account: 100"
    faulty.faults.append(turned_down("POST", "/clusters", "ResourceLimitExceededException", reached))
    faulty.faults.append(refusal("AttachInternetGateway", "RequestLimitExceeded", "Request limit exceeded."))
    run = up(stack)
    failed(
        run, "cluster: create: CreateCluster: ResourceLimitExceededException: Cluster limit exceeded for account: 100"
    )
    failed(run, "internet: create: AttachInternetGateway: RequestLimitExceeded: Request limit exceeded.")
    made = stack.state()
    assert {"vpc", "a", "b", "role", "key"} <= made.keys()
    assert "internet" in made, "the account has one, so the state must"
    assert "cluster" not in made


def test_the_next_run_finishes_what_is_there_and_makes_the_rest(
    stack: Stack, faulty: Faulty, amazon: tuple[Faulty, str]
) -> None:
    run = up(stack)
    assert run.code == 0, run.text[-3000:]
    assert run.operations == {("InternetGateway", "internet"): "update", ("Cluster", "cluster"): "create"}
    (gateway,) = client(amazon, "ec2").describe_internet_gateways()["InternetGateways"]
    assert [one["VpcId"] for one in gateway["Attachments"]] == [stack.state()["vpc"]["id"]]
    assert faulty.made("Action=CreateInternetGateway") == 0
    assert up(stack).operations == {}


def test_a_change_that_fails_half_way_is_made_whole_by_the_next_run(stack: Stack, faulty: Faulty) -> None:
    program = stack.folder / "__main__.py"
    private = '"endpoint_private_access": True'
    changed = program.read_text().replace('["api"]', '["api", "audit"]')
    program.write_text(changed.replace(private, f'{private}, "public_access_cidrs": ["198.51.100.0/24"]'))
    issue = {"code": "InsufficientFreeAddresses", "message": "no address is left", "resourceIds": []}
    cluster = {"name": "cloud", "status": "FAILED", "health": {"issues": [issue]}}
    faulty.faults.append(said("GET", "/clusters/cloud", {"cluster": cluster}))
    for _ in range(2):  # a second run does not take what has failed for well
        failed(up(stack), "cluster cloud is FAILED: ", "no address is left")
    assert faulty.made("198.51.100.0/24") == 0, "what comes after the call that failed"
    faulty.faults.clear()
    run = up(stack)
    assert (run.code, run.operations) == (0, {("Cluster", "cluster"): "update"}), run.text[-3000:]
    assert faulty.made("198.51.100.0/24") == 1
    assert up(stack).operations == {}


def test_an_end_that_is_cut_off_is_finished_by_the_next(
    stack: Stack, faulty: Faulty, amazon: tuple[Faulty, str]
) -> None:
    faulty.faults.append(refusal("DeleteSecurityGroup", "DependencyViolation", "has a dependent object"))
    failed(stack.destroy(), "cluster: delete: DeleteSecurityGroup: DependencyViolation: has a dependent object")
    faulty.faults[:] = [refusal("DeleteInternetGateway", "RequestLimitExceeded", "Request limit exceeded.")]
    failed(stack.destroy(), "internet: delete: DeleteInternetGateway: RequestLimitExceeded: Request limit exceeded.")
    faulty.faults.clear()
    again = stack.destroy()
    assert again.code == 0, again.text[-3000:]
    ec2 = client(amazon, "ec2")
    assert not ec2.describe_internet_gateways()["InternetGateways"]
    assert not ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.42.0.0/16"]}])["Vpcs"]
    names = [group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]]
    assert set(names) <= {"default"}
    assert not client(amazon, "eks").list_clusters()["clusters"]
