"""The server as its clients, its operators and its object store see it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from isthmus_training.acquire import acquire
from isthmus_training.manifest import Model, canonical, digest
from isthmus_training.preprocess import split

Start = Callable[..., Any]
Trained = Callable[[int], Model]
Publish = Callable[..., None]


def resealed(model: Model, /, **change: Any) -> Model:
    """The model with a changed manifest whose digests are right again: only its promises are wrong."""
    manifest = json.loads(model.manifest) | change
    manifest["version"] = digest(canonical(manifest))[-16:]
    return Model(version=manifest["version"], onnx=model.onnx, manifest=canonical(manifest))


def test_it_is_ready_only_with_a_model_and_then_right(start: Start, publish: Publish, trained: Trained) -> None:
    server, model = start(), trained(17)
    assert server.status("/v2/health/ready") == 503
    assert server.status("/v2/models/digits") == 503
    assert server.infer([[0.0] * 64]).status_code == 503
    publish(model)
    server.wait(lambda: server.status("/v2/health/ready") == 200, "ready")
    samples = split(acquire(None))
    answer = server.infer(samples.held_out_images[:100], id="seven").json()
    label, probabilities = answer["outputs"]
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("digits", model.version, "seven")
    assert answer["parameters"] == {"digest": digest(model.onnx)}
    assert (label["name"], label["datatype"], label["shape"]) == ("label", "INT64", [100])
    assert (probabilities["name"], probabilities["shape"]) == ("probabilities", [100, 10])
    assert np.mean(np.array(label["data"]) == samples.held_out_labels[:100]) >= 0.95
    only = server.infer(samples.held_out_images[:1], outputs=[{"name": "label"}]).json()
    assert [output["name"] for output in only["outputs"]] == ["label"]


def test_metadata_paths_and_nested_data(start: Start, publish: Publish, trained: Trained) -> None:
    model = trained(17)
    publish(model)
    server = start()
    server.wait(lambda: server.status("/v2/health/ready") == 200, "ready")
    version = f"/v2/models/digits/versions/{model.version}"
    assert server.client.get("/v2").json()["name"] == "isthmus-inference"
    assert server.client.get(version).json()["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 64]}]
    for path in ("/v2/models/digits/ready", f"{version}/ready"):
        assert server.status(path) == 200
    for path in ("/v2/models/other", "/v2/models/digits/versions/1", "/v2/models/other/ready", "/nothing"):
        assert server.status(path) == 404
        assert "error" in server.client.get(path).json()
    tensor = {"name": "image", "shape": [2, 64], "datatype": "FP32", "data": [[1] * 64, [2] * 64]}
    assert server.client.post(f"{version}/infer", json={"inputs": [tensor]}).status_code == 200
    assert server.client.post("/v2/models/digits/versions/1/infer", json={"inputs": [tensor]}).status_code == 404
    assert server.client.get("/v2/models/digits/infer").status_code == 405
    assert server.metric('isthmus_inference_requests_total{status="200"}') == 1
    assert server.metric("isthmus_inference_samples_total") == 2
    assert server.metric("isthmus_inference_seconds_count") == 3
    assert server.metric(
        f'isthmus_model_served{{digest="{digest(model.onnx)}",model="digits",version="{model.version}"}}'
    )
    assert server.metric("isthmus_ready") == 1


def test_it_tells_since_when_the_served_version_is_in_the_store(
    start: Start, publish: Publish, trained: Trained, bucket: Any
) -> None:
    first, second = trained(17), trained(18)
    server = start()

    def told(model: Model) -> str:
        labels = f'digest="{digest(model.onnx)}",model="digits",version="{model.version}"'
        return f"isthmus_model_published_timestamp_seconds{{{labels}}}"

    def written(model: Model) -> float:
        key = f"models/digits/versions/{model.version}/manifest.json"
        return bucket.client.head_object(Bucket=bucket.name, Key=key)["LastModified"].timestamp()

    for model in (first, second):
        publish(model)
        server.wait(lambda model=model: server.metric(told(model)), f"serving {model.version}")
        assert server.metric(told(model)) == written(model)
    assert server.metric(told(first)) == 0, "it is told of the version that is served alone"
    # Somebody goes back to the first: it is as old as it was.
    pointer = {"version": first.version, "manifest_digest": first.manifest_digest}
    bucket.put("models/digits/aliases/champion.json", json.dumps(pointer).encode())
    server.wait(lambda: server.metric(told(first)), "serving the first again")
    assert server.metric(told(first)) == written(first)


def test_models_that_break_their_promise_are_refused_and_the_old_one_stays(
    start: Start, publish: Publish, trained: Trained
) -> None:
    good, other = trained(17), trained(18)
    publish(good)
    server = start()
    server.wait(lambda: server.status("/v2/health/ready") == 200, "ready")
    tensor = json.loads(other.manifest)["inputs"][0]
    outputs = json.loads(other.manifest)["outputs"]
    broken = resealed(other, onnx={"digest": digest(b"no model"), "size": 8})
    cases: list[tuple[Model, dict[str, bytes], str]] = [
        (other, {"onnx": good.onnx}, "model.onnx has digest"),
        (other, {"alias": b'{"version": "../../etc"}'}, "matching regex"),
        (other, {"alias": b"nothing"}, "JSON is malformed"),
        (resealed(other, inputs=[{**tensor, "shape": [-1, 65]}]), {}, "promises shape [-1, 65]"),
        (resealed(other, inputs=[{**tensor, "name": "picture"}]), {}, "promises inputs ['picture']"),
        (resealed(other, outputs=outputs[:1]), {}, "promises outputs ['label']"),
        (resealed(other, outputs=[outputs[0], {**outputs[1], "datatype": "INT64"}]), {}, "promises INT64"),
        (resealed(other, format=2), {}, "has format 2"),
        (resealed(other, model="letters"), {}, "is of letters"),
        (other, {"manifest": other.manifest + b" "}, "manifest.json has digest"),
        (broken, {"onnx": b"no model"}, "onnxruntime can't load"),
    ]
    for count, (model, damage, reason) in enumerate(cases, 1):
        publish(model, **damage)
        said = lambda wanted=reason: any(  # noqa: E731
            line.get("result") == "refused" and wanted in line["message"] for line in server.log()
        )
        server.wait(said, f"refused for {reason!r}")
        assert server.infer([[1.0] * 64]).json()["model_version"] == good.version
        assert server.status("/v2/health/ready") == 200
        assert server.metric('isthmus_model_checks_total{result="refused"}') >= count
    publish(other)
    server.wait(lambda: server.version() == other.version, "on the good model")


def test_it_serves_on_while_the_object_store_is_away(
    start: Start, publish: Publish, trained: Trained, bucket: Any
) -> None:
    away = threading.Event()
    host, port = bucket.variables["ISTHMUS_S3_ENDPOINT"].removeprefix("http://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=relay, args=(listener, (host, int(port)), away), daemon=True).start()
        publish(trained(17))
        server = start(ISTHMUS_S3_ENDPOINT=f"http://127.0.0.1:{listener.getsockname()[1]}")
        server.wait(lambda: server.status("/v2/health/ready") == 200, "ready")
        away.set()
        server.wait(lambda: server.metric('isthmus_model_checks_total{result="unavailable"}') >= 3, "without its store")
        assert server.infer([[1.0] * 64]).status_code == 200
        assert server.status("/v2/health/ready") == 200
        publish(trained(18))
        away.clear()
        server.wait(lambda: server.version() == trained(18).version, "following again")
        said = [line["message"] for line in server.log() if line.get("result") == "unavailable"]
        assert len(said) <= 3, "the same fault is said once, not at each poll"


def relay(listener: socket.socket, target: tuple[str, int], away: threading.Event) -> None:
    """A TCP relay that hangs up on every connection while `away` is set."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if away.is_set():
                    break
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                end.close()

    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        if away.is_set():
            client.close()
            continue
        server = socket.create_connection(target)
        for pair in ((client, server), (server, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


async def poll(url: str, workers: int, until: asyncio.Event) -> Counter:
    """Keeps `workers` clients asking and counts answers by status and version; a dropped request counts as an error."""
    seen: Counter = Counter()
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}

    async def ask(client: httpx.AsyncClient) -> None:
        while not until.is_set():
            try:
                answer = await client.post("/v2/models/digits/infer", json={"inputs": [tensor]})
                seen[answer.status_code, answer.json().get("model_version")] += 1
            except httpx.ConnectError:
                seen["refused", None] += 1
                await asyncio.sleep(0.02)
            except httpx.TransportError as fault:
                seen[repr(fault), None] += 1

    async with httpx.AsyncClient(base_url=url, timeout=10) as client:
        await asyncio.gather(*(ask(client) for _ in range(workers)))
    return seen


def test_a_reload_drops_no_request(start: Start, publish: Publish, trained: Trained) -> None:
    models = [trained(17), trained(18)]
    publish(models[0])
    server = start()
    server.wait(lambda: server.status("/v2/health/ready") == 200, "ready")

    async def scenario() -> Counter:
        until = asyncio.Event()
        polling = asyncio.create_task(poll(str(server.client.base_url), 8, until))
        for turn in range(6):
            await asyncio.to_thread(publish, models[(turn + 1) % 2])
            await asyncio.sleep(0.3)
        until.set()
        return await polling

    seen = asyncio.run(scenario())
    assert set(seen) == {(200, model.version) for model in models}
    assert server.metric('isthmus_model_checks_total{result="loaded"}') >= 4


def test_sigterm_drains_without_dropping_a_request(start: Start, publish: Publish, trained: Trained) -> None:
    publish(trained(17))
    server = start(ISTHMUS_DRAIN_SECONDS="4")  # time enough to be asked, on a machine that has others to serve
    server.wait(lambda: server.status("/v2/health/ready") == 200, "ready")

    async def scenario() -> Counter:
        until = asyncio.Event()
        polling = asyncio.create_task(poll(str(server.client.base_url), 4, until))
        await asyncio.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        async with httpx.AsyncClient(base_url=str(server.client.base_url)) as other:
            assert (await other.get("/v2/health/ready")).status_code == 503
            assert (await other.get("/v2/health/live")).status_code == 200
        await asyncio.sleep(1.5)
        until.set()  # a balancer has seen it by now and goes elsewhere; who connects at the very end is cut
        seen = await polling
        await asyncio.to_thread(server.process.wait, 20)
        return seen

    seen = asyncio.run(scenario())
    assert set(seen) == {(200, trained(17).version)}, seen
    assert seen.total() > 20
    assert server.process.returncode == 0


def test_a_request_in_flight_at_the_end_is_finished(start: Start, publish: Publish, trained: Trained) -> None:
    publish(trained(17))
    server = start(ISTHMUS_DRAIN_SECONDS="0.1")
    server.wait(lambda: server.status("/v2/health/ready") == 200, "ready")
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [1] * 64}
    body = json.dumps({"inputs": [tensor]}).encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow:
        head = f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        slow.sendall(head.encode() + body[:50])
        time.sleep(0.1)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.6)
        slow.sendall(body[50:])
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")
    assert server.process.wait(timeout=20) == 0


@pytest.mark.parametrize("wrong", [{"ISTHMUS_POLL_SECONDS": "never"}, {"ISTHMUS_S3_ENDPOINT": "garage"}])
def test_wrong_settings_are_named(wrong: dict[str, str]) -> None:
    from isthmus_inference.settings import BadSettings, load

    with pytest.raises(BadSettings, match=next(iter(wrong))):
        load({"ISTHMUS_S3_ENDPOINT": "http://x", **wrong})
