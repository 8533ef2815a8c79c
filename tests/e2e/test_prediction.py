"""The model that the site trained and serves is right, seen through the ingress."""

from __future__ import annotations

import time

import httpx
import numpy as np

from ops import predict


def test_held_out_digits_are_recognised_through_the_ingress(ingress: str) -> None:
    samples, labels = predict.held_out()
    right = 0
    with httpx.Client(base_url=ingress, timeout=5) as client:
        for start in range(0, len(samples), 64):
            batch = np.asarray(samples[start : start + 64], dtype=np.float32)
            answer = client.post(
                "/v2/models/digits/infer",
                json={
                    "inputs": [
                        {
                            "name": "image",
                            "shape": list(batch.shape),
                            "datatype": "FP32",
                            "data": batch.ravel().tolist(),
                        }
                    ]
                },
            )
            assert answer.status_code == 200, f"{answer.status_code}: {answer.text[:300]}"
            labels_out = next(o for o in answer.json()["outputs"] if o["name"] == "label")["data"]
            right += int(np.sum(np.asarray(labels_out) == labels[start : start + 64]))
    accuracy = right / len(samples)
    print(f"accuracy on {len(samples)} held-out digits through the ingress: {accuracy:.4f}")
    assert len(samples) >= 300
    assert accuracy >= 0.95


def test_new_connections_through_the_ingress_are_all_answered_at_once(ingress: str) -> None:
    # A load balancer whose packets a policy drops still answers, after a timeout and another try.
    slowest = 0.0
    for _ in range(100):
        start = time.monotonic()
        assert httpx.get(f"{ingress}/v2/health/ready", timeout=5).status_code == 200
        slowest = max(slowest, time.monotonic() - start)
    print(f"slowest of 100 new connections: {slowest * 1000:.0f} ms")
    assert slowest < 0.9


def test_make_predict_names_answer_version_digest_and_url(make, ingress: str) -> None:
    said = make("predict", "INDEX=3").stdout
    assert ingress in said
    assert "sha256:" in said
    assert "version" in said


def test_a_bad_request_gets_a_4xx_that_names_the_field(ingress: str) -> None:
    answer = httpx.post(
        f"{ingress}/v2/models/digits/infer", json={"inputs": [{"name": "image", "shape": [1, 3]}]}, timeout=5
    )
    assert 400 <= answer.status_code < 500
    assert "datatype" in answer.text or "shape" in answer.text


def test_an_oversize_body_is_refused_and_serving_goes_on(ingress: str) -> None:
    answer = httpx.post(f"{ingress}/v2/models/digits/infer", content=b"[" * (32 << 20), timeout=30)
    assert answer.status_code == 413
    assert httpx.get(f"{ingress}/v2/health/ready", timeout=5).status_code == 200
