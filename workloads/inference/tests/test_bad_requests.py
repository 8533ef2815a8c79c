"""No request can hurt the server: each wrong one gets a 4xx that names the field and says why, and serving goes on."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

INFER = "/v2/models/digits/infer"
GOOD: dict[str, Any] = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [1] * 64}


@pytest.fixture
def server(start: Callable[..., Any], publish: Callable[..., None], trained: Callable[[int], Any]) -> Any:
    publish(trained(17))
    running = start(ISTHMUS_BODY_SECONDS="0.5")
    running.wait(lambda: running.status("/v2/health/ready") == 200, "ready")
    return running


def request(**change: Any) -> bytes:
    return json.dumps({"inputs": [GOOD | change]}).encode()


WRONG: list[tuple[bytes, str]] = [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    (b"null", "Expected `object`"),
    (b"[" * 100_000, "Expected `object`"),
    (b'{"a":' * 50_000, "not JSON"),
    (b"{}", "missing required field `inputs`"),
    (b'{"inputs": []}', "inputs: ['image'] is missing"),
    (b'{"inputs": [{"name": "image", "shape": [1, 3]}]}', "missing required field `datatype` - at `$.inputs[0]`"),
    (json.dumps({"inputs": [GOOD, GOOD]}).encode(), "inputs[1].name: 'image' is given twice"),
    (json.dumps({"inputs": [GOOD], "outputs": [{"name": "colour"}]}).encode(), "outputs[0].name"),
    (json.dumps({"inputs": [GOOD], "id": 7}).encode(), "$.id"),
    (request(name="picture"), "inputs[0].name: the model has no input 'picture'"),
    (request(datatype="BYTES"), "inputs[0].datatype"),
    (request(datatype=32), "$.inputs[0].datatype"),
    (request(shape=[64]), "inputs[0].shape"),
    (request(shape=[1, 63]), "inputs[0].shape"),
    (request(shape=[0, 64], data=[]), "inputs[0].shape"),
    (request(shape=[-1, 64]), "$.inputs[0].shape[0]"),
    (request(shape=[10**30, 64]), "$.inputs[0].shape[0]"),
    (request(shape=[2, 64]), "inputs[0].data: 64 values; shape [2, 64] has 128"),
    (request(data=[1] * 63), "inputs[0].data: 63 values"),
    (request(data=[]), "inputs[0].data: 0 values"),
    (request(data=[1] * 63 + ["x"]), "$.inputs[0].data[63]"),
    (request(data=[1] * 63 + [None]), "$.inputs[0].data[63]"),
    (request(data=[[1] * 63 + [True]]), "$.inputs[0].data[0][63]"),
    (request(data=[1] * 63 + [float("nan")]), "inputs[0].data[63]: JSON has no NaN"),
    (request(data=[float("-inf")] + [1] * 63), "inputs[0].data[0]: JSON has no NaN"),
    (request(data=[1] * 63 + [1e39]), "inputs[0].data[63]: not a finite 32-bit number"),
    (request(data=[1] * 5 + [255] + [1] * 58), "inputs[0].data[5]: 255; image is 0 to 16"),
    (request(data=[-1] + [1] * 63), "inputs[0].data[0]: -1; image is 0 to 16"),
]


def test_each_wrong_request_is_told_what_is_wrong(server: Any) -> None:
    for body, reason in WRONG:
        answer = server.client.post(INFER, content=body)
        assert answer.status_code == 400, (body[:80], answer.text)
        assert reason in answer.json()["error"], (body[:80], answer.text)
        assert len(answer.text) < 600
    assert server.metric('isthmus_inference_requests_total{status="400"}') == len(WRONG)
    for headers in ({"Content-Encoding": "gzip"}, {"Inference-Header-Content-Length": "10"}):
        assert next(iter(headers)) in server.client.post(INFER, content=request(), headers=headers).json()["error"]
    assert "'letters' is not served" in server.client.post("/v2/models/letters/infer", content=request()).text
    assert server.client.post(INFER, content=request()).status_code == 200


def test_a_body_that_is_too_big_is_refused_however_it_comes(server: Any) -> None:
    answer = server.client.post(INFER, content=b"[" * (32 << 20))
    assert answer.status_code == 413
    assert "at most 524288" in answer.json()["error"]
    pieces = (b" " * 65536 for _ in range(100))  # chunked: its length is not told beforehand
    assert server.client.post(INFER, content=pieces).status_code == 413
    assert server.client.post(INFER, content=request()).status_code == 200


def test_a_client_that_stalls_or_hangs_up_holds_nothing(server: Any) -> None:
    head = b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as stalled:
        stalled.sendall(head + b"{")
        assert stalled.recv(4096).startswith(b"HTTP/1.1 408")
    with socket.create_connection(("127.0.0.1", server.port)) as gone:
        gone.sendall(head + b"{")
    server.wait(lambda: server.metric("isthmus_inference_in_flight") == 0, "done with the clients that left")
    assert server.client.post(INFER, content=request()).status_code == 200


def test_random_damage_never_gets_a_5xx(server: Any) -> None:
    dice = random.Random(7)
    whole = request()
    for _ in range(400):
        body = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(body))
            match dice.randrange(3):
                case 0:
                    body[at] = dice.randrange(256)
                case 1:
                    del body[at : at + dice.randint(1, 40)]
                case 2:
                    body[at:at] = dice.choice([b"[", b"{", b'"', b"null", b"9" * 400, b"-", b"1e308", b"\\u0000", b"]"])
            if not body:
                break
        status = server.client.post(INFER, content=bytes(body)).status_code
        assert status in (200, 400), bytes(body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
        raw.sendall(bytes(dice.randrange(256) for _ in range(2000)) + b"\r\n\r\n")
        raw.recv(4096)
    assert server.client.post(INFER, content=whole).status_code == 200
