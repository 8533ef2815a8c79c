"""The same inputs give the same version; publishing twice changes nothing; only a better model is promoted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from isthmus_training import __main__ as program
from isthmus_training import train
from isthmus_training.acquire import Dataset, acquire
from isthmus_training.errors import BadModel, StoreFailure
from isthmus_training.evaluate import evaluate
from isthmus_training.manifest import code_digest, describe, digest
from isthmus_training.preprocess import split
from isthmus_training.promote import judge
from isthmus_training.settings import load
from isthmus_training.store import Store
from skl2onnx import to_onnx

SOURCE = Path(program.__file__).parent.parent


Run = Callable[..., tuple[int, list[dict]]]


@pytest.fixture
def run(bucket: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the program in this process; returns its exit status and its log."""

    def call(**more: str) -> tuple[int, list[dict]]:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in {**bucket.variables, **more}.items():
                patch.setenv(name, value)
            status = program.main()
        return status, lines(capsys.readouterr().out)

    return call


@pytest.fixture
def fitted_before(fitted: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs whose model is not what the test is about."""
    monkeypatch.setattr(program, "fit", lambda _samples, seed: fitted(seed))


def run_as_its_container_does(bucket: Any) -> tuple[int, list[dict]]:
    # Where a machine's settings choose the kernels of the linear algebra, they do so for both sides of a comparison.
    kernels = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
    done = subprocess.run(
        [sys.executable, "-m", "isthmus_training"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), **kernels, **bucket.variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert not done.stderr, done.stderr
    return done.returncode, lines(done.stdout)


def lines(log: str) -> list[dict]:
    return [json.loads(line) for line in log.splitlines()]


def alias(bucket: Any) -> dict:
    return json.loads(bucket.get("models/digits/aliases/champion.json"))


def test_two_runs_give_the_same_bytes_and_the_second_changes_nothing(bucket: Any, trained: Callable, run: Run) -> None:
    status, log = run_as_its_container_does(bucket)
    assert status == 0
    assert [line["step"][:3] for line in log if line["message"] == "begins"] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert log[-1]["result"] == "promoted to champion"
    model = trained(17)  # made by this process: another one, with other imports and threads
    folder = f"models/digits/versions/{model.version}"
    assert bucket.get(f"{folder}/model.onnx") == model.onnx
    assert bucket.get(f"{folder}/manifest.json") == model.manifest
    assert alias(bucket) == {"version": model.version, "manifest_digest": model.manifest_digest}
    before = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    status, log = run()
    assert status == 0
    assert log[-2]["message"] == "model.onnx kept, manifest.json kept"
    assert (log[-1]["result"], log[-1]["message"]) == ("not promoted", "it is the champion already")
    assert bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"] == before  # times of writing, too


def test_the_order_in_which_the_converter_lists_its_operator_sets_is_not_in_the_bytes(
    fitted: Callable, trained: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_way_round(*args: Any, **options: Any) -> Any:
        graph = to_onnx(*args, **options)
        listed = list(reversed(graph.opset_import))
        del graph.opset_import[:]
        graph.opset_import.extend(listed)
        return graph

    expected = trained(17).onnx
    monkeypatch.setattr(train, "to_onnx", other_way_round)
    assert train.export(fitted(17)) == expected


def test_the_manifest_tells_what_the_model_was_made_from(trained: Callable) -> None:
    model = trained(17)
    manifest = json.loads(model.manifest)
    assert manifest["onnx"] == {"digest": digest(model.onnx), "size": len(model.onnx)}
    assert manifest["metrics"]["accuracy"] >= 0.97
    assert manifest["metrics"]["held_out_samples"] >= 300
    made_from = manifest["created_from"]
    assert made_from["data"]["digest"] == acquire(None).digest
    assert made_from["code"] == code_digest()
    assert made_from["seed"] == 17
    assert {"numpy", "scikit-learn", "skl2onnx", "onnxruntime"} <= made_from["libraries"].keys()


def test_any_other_input_is_another_version(trained: Callable) -> None:
    data, model = acquire(None), trained(17)
    core = {"name": "digits", "onnx": model.onnx, "data": data, "seed": 17, "metrics": {"accuracy": 0.9}}
    other_data = Dataset(source=data.source, images=data.images[1:], labels=data.labels[1:])
    others = [{"seed": 18}, {"data": other_data}, {"onnx": model.onnx + b" "}, {"metrics": {"accuracy": 0.91}}]
    versions = {describe(**{**core, **change}).version for change in [{}, *others]}
    assert len(versions) == len(others) + 1


@pytest.mark.parametrize(
    ("score", "champion", "champion_score", "promoted", "reason"),
    [
        (0.94, None, None, False, "below the threshold"),
        (0.94, "old", 0.5, False, "below the threshold"),
        (0.95, None, None, True, "no champion"),
        (0.95, "broken", None, True, "no champion that works"),
        (0.98, "new", 0.98, False, "already"),
        (0.98, "old", 0.97, True, "beats"),
        (0.98, "old", 0.98, False, "does not beat"),
        (0.97, "old", 0.98, False, "does not beat"),
    ],
)
def test_only_a_better_model_is_promoted(
    score: float, champion: str | None, champion_score: float | None, promoted: bool, reason: str
) -> None:
    verdict = judge(version="new", score=score, threshold=0.95, champion=champion, champion_score=champion_score)
    assert verdict.promoted is promoted
    assert reason in verdict.reason


@pytest.mark.usefixtures("fitted_before")
def test_a_model_below_the_threshold_fails_the_run_and_leaves_the_alias(bucket: Any, run: Run) -> None:
    status, log = run(ISTHMUS_THRESHOLD="0.999")
    assert status == 4
    assert "below the threshold" in log[-1]["message"]
    assert not any("alias" in key for key in bucket.listing())


@pytest.mark.usefixtures("fitted_before")
@pytest.mark.parametrize("damage", ["alias", "model", "manifest", "missing"])
def test_a_damaged_champion_is_replaced_and_a_damaged_version_mended(
    bucket: Any, trained: Callable, damage: str
) -> None:
    model = trained(17)
    folder = f"models/digits/versions/{model.version}"
    content = {
        f"{folder}/model.onnx": model.onnx,
        f"{folder}/manifest.json": model.manifest,
        "models/digits/aliases/champion.json": json.dumps(
            {"version": model.version, "manifest_digest": model.manifest_digest}
        ).encode(),
    }
    key = next(k for k in content if {"missing": "model"}.get(damage, damage) in k.removeprefix("models/digits"))
    if damage == "missing":
        del content[key]
    else:
        content[key] = content[key][:-20]
    for name, body in content.items():
        bucket.put(name, body)
    program.run(bucket.variables, program.Progress())
    assert bucket.get(f"{folder}/model.onnx") == model.onnx
    assert bucket.get(f"{folder}/manifest.json") == model.manifest
    assert alias(bucket)["version"] == model.version


def test_onnx_that_disagrees_with_the_model_is_never_published(trained: Callable, fitted: Callable) -> None:
    samples = split(acquire(None))
    with pytest.raises(BadModel, match="disagree"):
        evaluate(trained(18).onnx, fitted(17), samples)


def test_bad_data_ends_the_run_with_status_3(bucket: Any, run: Run, tmp_path: Path) -> None:
    data = acquire(None)
    np.savez(tmp_path / "few.npz", images=data.images[:50], labels=data.labels[:50])
    status, log = run(ISTHMUS_DATA=str(tmp_path / "few.npz"))
    assert status == 3
    assert (log[-1]["level"], log[-1]["step"]) == ("error", "1/5 acquire")
    assert "50 samples; at least 500" in log[-1]["message"]
    assert bucket.listing() == []


def test_bad_settings_end_the_run_with_status_2_and_name_the_variables(run: Run) -> None:
    status, log = run(ISTHMUS_SEED="many", ISTHMUS_THRESHOLD="2")
    assert status == 2
    assert "ISTHMUS_SEED" in log[-1]["message"] and "ISTHMUS_THRESHOLD" in log[-1]["message"]
    status, log = run(ISTHMUS_S3_CREDENTIALS_DIR="/nowhere")
    assert status == 2
    assert "/nowhere/access_key_id" in log[-1]["message"]


def test_a_store_that_is_away_is_waited_for_and_said_so(bucket: Any) -> None:
    said: list[str] = []
    nobody = {"ISTHMUS_S3_ENDPOINT": "http://127.0.0.1:9", "ISTHMUS_S3_PATIENCE": "1"}
    unreachable = load({**bucket.variables, **nobody})
    with pytest.raises(StoreFailure, match="did not read some/key within 1 s"):
        Store(unreachable, said.append).get("some/key")
    assert "again in 0.5 s" in said[0]


def test_a_store_that_fails_twice_and_then_works_is_enough(bucket: Any) -> None:
    calls = []

    class Flaky(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            body = b"content" if len(calls) > 2 else b"<Error><Code>SlowDown</Code></Error>"
            self.send_response(200 if len(calls) > 2 else 503)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", "Mon, 23 Nov 2026 20:00:00 GMT")
            self.send_header("ETag", '"1"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = load(
        {
            **bucket.variables,
            "ISTHMUS_S3_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "ISTHMUS_S3_PATIENCE": "5",
        }
    )
    said: list[str] = []
    assert Store(settings, said.append).get("key") == b"content"
    assert len(said) == 2
    server.shutdown()


def test_a_missing_bucket_is_named(bucket: Any) -> None:
    settings = load({**bucket.variables, "ISTHMUS_S3_BUCKET": "no-such-bucket"})
    with pytest.raises(StoreFailure, match=r"bucket no-such-bucket .* no such bucket"):
        Store(settings, print).put("key", b"")
