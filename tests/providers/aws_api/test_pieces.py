"""The journal, the moment and the requests of the lab's AWS API, each by itself."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from infra.cloud.provider import SERVICES as called
from tests.providers.aws_api.account import FORM, SOURCE, signed

sys.path.insert(0, str(SOURCE))

# These three touch neither the clock nor moto; the rest of the package runs in a process of its own.
from isthmus_aws_api import wire
from isthmus_aws_api.journal import INLINE, Damaged, Journal
from isthmus_aws_api.moment import Datetime, Moment, within


def request(method: str = "PUT", path: str = "/models/key", body: bytes = b"", **environ: str) -> wire.Request:
    return wire.Request(environ={"REQUEST_METHOD": method, "PATH_INFO": path, **environ}, names={}, body=body)


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
