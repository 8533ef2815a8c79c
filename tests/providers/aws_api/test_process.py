"""The lab's AWS API as a process: what it makes is the same after a power cut, whatever the cut left of the journal."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.providers.aws_api.account import ACCOUNT, FORM, OBJECT, SOURCE, client, make, seen, signed


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
