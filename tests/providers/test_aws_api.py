"""The lab's AWS API: what it makes is the same after a power cut, whatever the cut left of the journal."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from infra.artifacts import ArtifactError, Index
from infra.cloud.provider import SERVICES as called
from infra.paths import CACHE, ROOT
from infra.providers.isthmus import lab
from infra.providers.isthmus.aws_api import AwsApi
from infra.providers.isthmus.handler import UNKNOWN, Context, PartialFailure, ResourceError
from infra.providers.isthmus.log import EngineLog
from infra.providers.isthmus.network import Network
from infra.providers.isthmus.podman import Podman

SOURCE = ROOT / "mirror" / "images" / "aws-api" / "src"
sys.path.insert(0, str(SOURCE))

# These three touch neither the clock nor moto; the rest of the package runs in a process of its own.
from isthmus_aws_api import wire  # noqa: E402
from isthmus_aws_api.journal import INLINE, Damaged, Journal  # noqa: E402
from isthmus_aws_api.moment import Datetime, Moment, within  # noqa: E402

CTX = Context(urn="", preview=False, log=EngineLog())
ACCOUNT = "000011112222"
OBJECT = bytes(range(256)) * 12_000


# --- the pieces


def request(method: str = "PUT", path: str = "/models/key", body: bytes = b"", **environ: str) -> wire.Request:
    return wire.Request(environ={"REQUEST_METHOD": method, "PATH_INFO": path, **environ}, names={}, body=body)


def signed(service: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential=lab/20261125/eu-central-1/{service}/aws4_request, SignedHeaders=host"


FORM = "application/x-www-form-urlencoded; charset=utf-8"


@pytest.mark.parametrize(
    ("sent", "what", "reads"),
    [
        (request("GET", "/models/key"), "s3 GET /models/key", True),
        (request("PUT", "/models/\xc3\xbc", QUERY_STRING="tagging"), "s3 PUT /models/ü?tagging", False),
        (request("POST", "/clusters", HTTP_AUTHORIZATION=signed("eks")), "eks POST /clusters", False),
        (request("POST", "/", b"Action=DescribeVpcs", CONTENT_TYPE=FORM), "s3 DescribeVpcs", True),
        (
            request("POST", "/", b"Action=CreateVpc&X=1", CONTENT_TYPE=FORM, HTTP_AUTHORIZATION=signed("ec2")),
            "ec2 CreateVpc",
            False,
        ),
        (request("GET", "/", QUERY_STRING="Action=CreateVpc"), "s3 CreateVpc", False),
        (request("POST", HTTP_X_AMZ_TARGET="TrentService.CreateKey"), "s3 CreateKey", False),
        (
            request("POST", HTTP_X_AMZ_TARGET="TrentService.Decrypt", HTTP_AUTHORIZATION=signed("kms")),
            "kms Decrypt",
            True,
        ),
        (request("POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData"), "s3 PutMetricData", False),
    ],
)
def test_a_request_is_known_by_its_call_and_by_whether_it_only_looks(
    sent: wire.Request, what: str, reads: bool
) -> None:
    assert (sent.what, sent.reads) == (what, reads)


def test_what_the_cloud_half_calls_is_offered() -> None:
    assert {"logs" if name == "cloudwatchlogs" else name for name in called} == {*wire.SERVICES}


def test_half_an_upload_is_no_object() -> None:
    environ = request(CONTENT_LENGTH="100").wsgi() | {"wsgi.input_terminated": False, "CONTENT_LENGTH": "100"}
    with pytest.raises(wire.BrokenOff, match="0 bytes of 100 came"):
        wire.received(environ)


def test_time_stands_still_in_a_moment_and_its_chance_repeats() -> None:
    def drawn() -> list[Any]:
        moment = Moment(at=1e9, seed="a")
        with within(moment):
            return [Datetime.now().timestamp(), moment.entropy.randbytes(8)]

    assert drawn() == drawn()
    assert drawn()[0] == 1e9
    assert Datetime.now().timestamp() == pytest.approx(time.time(), abs=5)


def write(data: Path, *bodies: bytes) -> None:
    journal = Journal(data)
    assert list(journal.records()) is not None
    for number, body in enumerate(bodies):
        journal.append(request(path=f"/models/{number}", body=body), at=1.5, seed="s", keys=["k"], answer="200 x")
    os.close(journal._file)


def test_a_journal_gives_back_what_was_written_and_keeps_large_bodies_in_files(tmp_path: Path) -> None:
    large = b"x" * (INLINE + 1)
    write(tmp_path, b"small", large, large)
    journal = Journal(tmp_path)
    records = list(journal.records())
    assert [record.what for record in records] == [f"s3 PUT /models/{number}" for number in range(3)]
    assert [journal.body(record) for record in records] == [b"small", large, large]
    assert (records[0].at, records[0].seed, records[0].keys, records[0].answer) == (1.5, "s", ["k"], "200 x")
    assert [path.name for path in (tmp_path / "bodies").iterdir()] == [hashlib.sha256(large).hexdigest()]
    assert (tmp_path / "journal.jsonl").stat().st_mode & 0o077 == 0, "it holds keys and secrets"


@pytest.mark.parametrize("cut", [1, 20, 400])
def test_a_torn_last_record_is_dropped_by_name_and_the_rest_stays(tmp_path: Path, cut: int) -> None:
    write(tmp_path, b"a", b"b")
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    path.write_bytes(whole[:-cut] if cut < last else whole[: -last + 30])
    journal = Journal(tmp_path)
    assert [record.what for record in journal.records()] == ["s3 PUT /models/0"]
    assert re.search(r"record 2 \((s3 PUT /models/1|a request whose name.*)\) was torn", journal.dropped)
    os.close(journal._file)
    write(tmp_path, b"c")
    assert len(list(Journal(tmp_path).records())) == 2, "what comes next begins on a line of its own"


def test_damage_before_the_end_is_refused_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, b"a", b"b", b"c")
    path = tmp_path / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"/models/1", b"/models/7"))
    with pytest.raises(Damaged, match=r"damaged in line 2.*make up"):
        list(Journal(tmp_path).records())


def test_a_body_that_changed_is_refused_and_one_that_nobody_wrote_of_is_removed(tmp_path: Path) -> None:
    write(tmp_path, b"x" * (INLINE + 1))
    [body] = (tmp_path / "bodies").iterdir()
    body.write_bytes(b"y")
    (tmp_path / "bodies" / "0000.new").write_bytes(b"half")
    journal = Journal(tmp_path)
    [record] = journal.records()
    with pytest.raises(Damaged, match="has changed"):
        journal.body(record)
    assert [path.name for path in (tmp_path / "bodies").iterdir()] == [body.name]


def test_a_journal_has_one_owner(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(Damaged, match="in use by another process"):
        Journal(tmp_path)
    os.close(journal._file)


# --- the whole, as a process


def client(endpoint: str, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="eu-central-1",
        aws_access_key_id="lab",
        aws_secret_access_key="lab",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def make(endpoint: str) -> None:
    """Some of what the cloud half makes, in two regions' worth of services."""
    ec2, kms, s3, eks, iam = (client(endpoint, service) for service in ("ec2", "kms", "s3", "eks", "iam"))
    named = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "lab"}]}]
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16", TagSpecifications=named)["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{n}.0/24", AvailabilityZone=f"eu-central-1{zone}")["Subnet"]
        for n, zone in enumerate("ab")
    ]
    ids = [subnet["SubnetId"] for subnet in subnets]
    gateway = ec2.create_vpn_gateway(Type="ipsec.1", AmazonSideAsn=64999)["VpnGateway"]["VpnGatewayId"]
    customer = ec2.create_customer_gateway(Type="ipsec.1", BgpAsn=65001, PublicIp="203.0.113.9")["CustomerGateway"]
    ec2.create_vpn_connection(
        Type="ipsec.1", CustomerGatewayId=customer["CustomerGatewayId"], VpnGatewayId=gateway, Options={}
    )
    ec2.create_vpc_endpoint(
        VpcId=vpc, ServiceName="com.amazonaws.eu-central-1.sts", VpcEndpointType="Interface", SubnetIds=ids
    )
    for kind in ("rsa", "ed25519"):
        ec2.create_key_pair(KeyName=kind, KeyType=kind)
    kms.create_key(Tags=[{"TagKey": "a", "TagValue": "b"}])
    kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="models", Key="a/ü b+c", Body=OBJECT, Metadata={"my_key": "v"})
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = iam.create_role(RoleName="nodes", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.attach_role_policy(RoleName="nodes", PolicyArn="arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy")
    eks.create_cluster(name="lab", roleArn=role, resourcesVpcConfig={"subnetIds": ids})
    eks.create_nodegroup(clusterName="lab", nodegroupName="cpu", subnets=ids, nodeRole=role, tags={"a": "b"})


def seen(endpoint: str) -> dict[str, Any]:
    """All that can be known of it, dates included."""
    ec2, kms, s3, eks, iam = (client(endpoint, service) for service in ("ec2", "kms", "s3", "eks", "iam"))
    kinds = ("vpcs", "subnets", "security_groups", "route_tables", "vpn_gateways", "customer_gateways")
    kinds += ("vpn_connections", "vpc_endpoints", "network_interfaces", "key_pairs")
    found = {kind: getattr(ec2, f"describe_{kind}")() for kind in kinds}
    found["keys"] = [kms.describe_key(KeyId=key["KeyId"]) for key in kms.list_keys()["Keys"]]
    found["tags"] = [kms.list_resource_tags(KeyId=key["KeyId"]) for key in kms.list_keys()["Keys"]]
    signs = [key["KeyMetadata"]["KeyId"] for key in found["keys"] if key["KeyMetadata"].get("SigningAlgorithms")]
    found["public"] = [kms.get_public_key(KeyId=key) for key in signs]
    found["versions"] = s3.list_object_versions(Bucket="models")
    got = s3.get_object(Bucket="models", Key="a/ü b+c")
    found["object"] = {**got, "Body": hashlib.sha256(got["Body"].read()).hexdigest()}
    found["roles"], found["policies"] = iam.list_roles(), iam.list_attached_role_policies(RoleName="nodes")
    found["cluster"] = eks.describe_cluster(name="lab")
    found["nodes"] = eks.describe_nodegroup(clusterName="lab", nodegroupName="cpu")
    for part in found.values():
        for one in part if isinstance(part, list) else [part]:
            one.pop("ResponseMetadata")
    return found


@dataclass
class Process:
    """The API on loopback."""

    data: Path
    running: subprocess.Popen[str] | None = None
    endpoint: str = ""
    log: str = ""

    def start(self) -> None:
        environ = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-m", "isthmus_aws_api", "--data", str(self.data), "--account", ACCOUNT]
        self.running = subprocess.Popen(
            [*command, "--address", "127.0.0.1", "--port", "0"], env=environ, stdout=subprocess.PIPE, text=True
        )
        assert self.running.stdout is not None
        self.log = ""
        for line in self.running.stdout:
            self.log += line
            if found := re.search(r"answering at (\S+)", line):
                self.endpoint = found[1]
                return
        pytest.fail(f"the API did not start: {self.log}")

    def cut(self) -> None:
        assert self.running is not None
        self.running.kill()
        self.running.wait()

    def noted(self) -> list[str]:
        lines = (self.data / "journal.jsonl").read_text().splitlines()
        return [json.loads(line.partition(" ")[2])["what"] for line in lines]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    made = Process(data=tmp_path_factory.mktemp("aws"))
    made.start()
    yield made
    made.cut()


def test_everything_is_the_same_after_a_power_cut_even_one_that_tore_the_journal(process: Process) -> None:
    # Looking first makes moto fill in what it makes by itself; a replay does not look.
    client(process.endpoint, "ec2").describe_vpc_endpoint_services()
    make(process.endpoint)
    # Called a look, but Amazon's own key is made by it.
    client(process.endpoint, "kms").describe_key(KeyId="alias/aws/ebs")
    before, noted = seen(process.endpoint), process.noted()
    assert noted[0] == "ec2 CreateVpc"
    assert noted[-1] == "kms DescribeKey"
    assert not any(re.search(r"Describe|List| GET | HEAD ", what) for what in noted[:-1])
    assert before["cluster"]["cluster"]["arn"].split(":")[4] == ACCOUNT

    process.cut()
    with (process.data / "journal.jsonl").open("ab") as journal:
        journal.write(b'0a1b2c3d {"what": "s3 PUT /models/torn", "at": 17')
    process.start()
    assert f"restored {len(noted)} requests" in process.log
    assert "(s3 PUT /models/torn) was torn by an interrupted write" in process.log
    assert "not restored" not in process.log
    assert seen(process.endpoint) == before
    with urllib.request.urlopen(f"{process.endpoint}/moto-api/health") as answer:
        health = json.load(answer)
    assert (health["restored"], len(health["warnings"])) == (len(noted), 1), "whoever waits for it is told too"


def test_what_comes_after_a_restart_is_new(process: Process) -> None:
    ec2 = client(process.endpoint, "ec2")
    known = {vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"]}
    made = [ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"] for _ in range(2)]
    assert len({*made}) == 2
    assert known.isdisjoint(made)


def test_what_was_refused_is_not_noted(process: Process) -> None:
    noted = process.noted()
    with pytest.raises(Exception, match="NoSuchBucket"):
        client(process.endpoint, "s3").put_object(Bucket="none", Key="a", Body=b"")
    assert process.noted() == noted


def test_a_bucket_that_refuses_plain_http_is_open_here_and_what_else_its_policy_says_holds(process: Process) -> None:
    s3 = client(process.endpoint, "s3")
    s3.create_bucket(Bucket="closed", CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    everything = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::closed/*"}
    plain = {**everything, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    s3.put_bucket_policy(Bucket="closed", Policy=json.dumps({"Version": "2012-10-17", "Statement": [plain]}))
    s3.put_object(Bucket="closed", Key="a", Body=b"a")
    assert s3.get_object(Bucket="closed", Key="a")["Body"].read() == b"a"
    both = [plain, {**everything, "Action": "s3:GetObject"}]
    s3.put_bucket_policy(Bucket="closed", Policy=json.dumps({"Version": "2012-10-17", "Statement": both}))
    with pytest.raises(Exception, match="403"):
        s3.get_object(Bucket="closed", Key="a")


def test_a_service_that_is_not_offered_says_so(process: Process) -> None:
    asked = urllib.request.Request(
        f"{process.endpoint}/",
        data=b"Action=ListQueues&Version=2012-11-05",
        headers={"Authorization": signed("sqs"), "Content-Type": FORM},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked)
    assert refused.value.code == 501
    assert "does not offer sqs; it offers budgets, ec2" in refused.value.read().decode()


def test_what_cannot_be_restored_is_told(process: Process) -> None:
    client(process.endpoint, "s3").put_object(Bucket="models", Key="second", Body=OBJECT[::-1])
    process.cut()
    (process.data / "bodies" / hashlib.sha256(OBJECT[::-1]).hexdigest()).unlink()
    process.start()
    assert "not restored: s3 PUT /models/second: its body cannot be read" in process.log
    with urllib.request.urlopen(f"{process.endpoint}/moto-api/health") as answer:
        assert len(json.load(answer)["warnings"]) == 1
    assert client(process.endpoint, "s3").head_object(Bucket="models", Key="a/ü b+c")["ContentLength"] == len(OBJECT)


# --- the resource

API = {
    "name": "aws-test",
    "network": "aws-test",
    "address": "10.91.2.3",
    "registry": "http://10.91.2.2:5000",
    "image": "registry.isthmus.internal/aws-api:0",
    "image_digest": "sha256:0",
    "account_id": ACCOUNT,
    "data": "/srv/aws",
    "checkout": "/c",
    "environment": "test",
}


@pytest.fixture
def store_of_one_test(tmp_path: Path) -> Podman:
    return Podman(root=tmp_path / "root", run=tmp_path / "run")


@pytest.mark.parametrize(
    ("changed", "key"),
    [({"address": "10.91.2.300"}, "address"), ({"account_id": "12"}, "account_id"), ({"data": "srv"}, "data")],
)
def test_the_resource_refuses_what_would_fail_half_way(
    store_of_one_test: Podman, changed: dict[str, Any], key: str
) -> None:
    handler = AwsApi(store_of_one_test)
    assert handler.check(API) == {}
    assert handler.check(dict.fromkeys(API, UNKNOWN)) == {}
    assert list(handler.check({**API, **changed})) == [key]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("account_id", [("account_id", True)]),
        ("data", [("data", True)]),
        ("address", [("address", False)]),
        ("image_digest", [("image_digest", False)]),
        ("network", [("network", False)]),
    ],
)
def test_only_another_account_is_another_resource(
    store_of_one_test: Podman, key: str, expected: list[tuple[str, bool]]
) -> None:
    changes = AwsApi(store_of_one_test).diff(CTX, "aws-test", API, {**API, key: "other"})
    assert [(change.path, change.replace) for change in changes] == expected


# --- the container


@dataclass(frozen=True)
class Container:
    """The API on a network of its own, in a store of its own."""

    podman: Podman
    network: dict[str, Any]
    api: dict[str, Any]

    @property
    def handler(self) -> AwsApi:
        return AwsApi(self.podman)

    def inputs(self, **changed: Any) -> dict[str, Any]:
        return {key: value for key, value in self.api.items() if key not in AwsApi.outputs} | changed

    def status(self) -> str:
        return lab.status_of(self.podman.inspect("aws-test"))


@pytest.fixture(scope="module")
def container() -> Iterator[Container]:
    try:
        index = Index.load()
        registry, machine, api = (index.artifact(name) for name in ("registry", "machine", "aws-api"))
    except ArtifactError as error:
        pytest.fail(f"this test runs the image aws-api out of the mirror: {error}")
    # Not pytest's tmp_path: podman's sockets need short paths, and its storage must not outlive a failed test.
    folder = Path(tempfile.mkdtemp(prefix="isthmus-aws-"))
    podman = Podman(root=folder / "podman", run=folder / "run")
    owner = {"checkout": str(folder), "environment": "test"}
    network = {
        **owner,
        "name": "aws-test",
        "cidr": "10.91.2.0/24",
        "gateway": "10.91.2.1",
        "mirror_address": "10.91.2.2",
        "registry_binary": str(registry.local),
        "registry_storage": str(CACHE / "mirror" / "registry"),
        "kind": "site",
        "image": str(machine.local),
        "image_digest": machine.digest,
    }
    try:
        _, made = Network(podman).create(CTX, network)
        inputs = {
            **API,
            **owner,
            "registry": made["mirror_url"],
            "image": api.image,
            "image_digest": api.digest,
            "data": str(folder / "data"),
        }
        _, state = AwsApi(podman).create(CTX, inputs)
        yield Container(podman=podman, network=network, api=state)
    finally:
        lab.remove_lab(podman=podman)
        podman("rmi", "--all", "--force")
        shutil.rmtree(folder, ignore_errors=True)


def eventually(what: Callable[[], bool], patience_s: float = 30) -> bool:
    deadline = time.monotonic() + patience_s
    while not (held := what()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return held


@pytest.mark.machine
def test_the_container_may_do_nothing_but_serve(container: Container) -> None:
    assert (container.api["endpoint"], container.api["status"]) == ("http://10.91.2.3:5000", "running")
    running = container.podman.inspect("aws-test")
    assert running is not None
    assert running["HostConfig"]["ReadonlyRootfs"]
    assert running["Config"]["User"] == "65532:65532"
    assert not running["EffectiveCaps"]
    assert lab.labs(container.podman)[0].machines == {}, "it is no machine: nobody can log in to it"


@pytest.mark.machine
def test_a_power_cut_is_seen_and_healed_and_everything_is_the_same(container: Container) -> None:
    make(container.api["endpoint"])
    before = seen(container.api["endpoint"])
    container.podman("kill", "--signal", "KILL", "aws-test")
    assert eventually(lambda: container.status() == "stopped")
    state = container.handler.read(CTX, "aws-test", container.api)
    assert state is not None
    assert state["status"] == "stopped"
    # Without a refresh too: the last known state says that it runs.
    changes = container.handler.diff(CTX, "aws-test", container.api, container.inputs())
    assert [change.path for change in changes] == ["status"]
    assert container.handler.update(CTX, "aws-test", state, container.inputs()) == container.api
    assert seen(container.api["endpoint"]) == before
    assert container.handler.diff(CTX, "aws-test", container.api, container.inputs()) == []


@pytest.mark.machine
@pytest.mark.parametrize("fault", ["pause", "rm"])
def test_other_faults_are_healed_too(container: Container, fault: str) -> None:
    before = seen(container.api["endpoint"])
    container.podman(fault, *(("--force", "--time", "0") if fault == "rm" else ()), "aws-test")
    changes = container.handler.diff(CTX, "aws-test", container.api, container.inputs())
    assert [change.path for change in changes] == ["status"]
    assert container.handler.update(CTX, "aws-test", container.api, container.inputs()) == container.api
    assert seen(container.api["endpoint"]) == before


@pytest.mark.machine
def test_another_address_takes_over_what_is_there(container: Container) -> None:
    before = seen(container.api["endpoint"])
    moved = container.handler.update(CTX, "aws-test", container.api, container.inputs(address="10.91.2.4"))
    assert moved["endpoint"] == "http://10.91.2.4:5000"
    assert seen(moved["endpoint"]) == before
    container.handler.update(CTX, "aws-test", moved, container.inputs())


@pytest.mark.machine
def test_a_journal_that_cannot_be_read_ends_in_its_own_words(container: Container) -> None:
    container.podman("kill", "--signal", "KILL", "aws-test")
    journal = Path(container.api["data"], "journal.jsonl")
    good = journal.read_bytes()
    journal.write_bytes(good.replace(b"CreateVpc", b"DeleteVpc", 1))
    with pytest.raises(PartialFailure, match=r"ended before it answered.*damaged in line 1"):
        container.handler.update(CTX, "aws-test", container.api, container.inputs())
    assert eventually(lambda: container.status() == "stopped", 60), "and it is not tried for ever"
    journal.write_bytes(good)
    container.handler.update(CTX, "aws-test", container.api, container.inputs())


@pytest.mark.machine
def test_the_name_of_another_lab_is_refused(container: Container) -> None:
    with pytest.raises(ResourceError, match="another lab"):
        container.handler.create(CTX, container.inputs(checkout="/elsewhere"))


@pytest.mark.machine
def test_deleting_it_removes_the_container_and_its_data(container: Container) -> None:
    for _ in range(2):
        container.handler.delete(CTX, "aws-test", container.api)
    assert container.podman.inspect("aws-test") is None
    assert not Path(container.api["data"]).exists()
    assert container.status() == "missing"
