"""An S3 server on loopback for the workloads' tests, and models that the real training code made."""

from __future__ import annotations

import functools
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

for workload in ("training", "inference", "replication", "status"):  # as PYTHONPATH says in the images
    sys.path.insert(0, str(Path(__file__).parent / workload / "src"))


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket, the settings that lead training and inference to it, and a client to look into it."""

    name: str
    client: Any
    variables: dict[str, str]

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def listing(self) -> list[str]:
        return [o["Key"] for o in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def new_bucket(s3_server: str, tmp_path: Path) -> Callable[[], Bucket]:
    (tmp_path / "access_key_id").write_text("test\n")
    (tmp_path / "secret_access_key").write_text("test\n")
    client = boto3.client(
        "s3", endpoint_url=s3_server, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )

    def make() -> Bucket:
        name = f"models-{uuid.uuid4().hex[:8]}"
        client.create_bucket(Bucket=name)
        variables = {
            "ISTHMUS_S3_ENDPOINT": s3_server,
            "ISTHMUS_S3_REGION": "us-east-1",
            "ISTHMUS_S3_BUCKET": name,
            "ISTHMUS_S3_CREDENTIALS_DIR": str(tmp_path),
            "ISTHMUS_S3_PATIENCE": "30",  # on a busy machine a request may be lost
        }
        return Bucket(name, client, variables)

    return make


@pytest.fixture
def bucket(new_bucket: Callable[[], Bucket]) -> Bucket:
    return new_bucket()


@pytest.fixture(scope="session")
def fitted() -> Callable[[int], Any]:
    """The fitted model with a seed, made once for each seed: it takes a second, and two of them are the same."""
    from isthmus_training.acquire import acquire
    from isthmus_training.preprocess import split
    from isthmus_training.train import fit

    return functools.cache(lambda seed: fit(split(acquire(None)), seed))


@pytest.fixture(scope="session")
def trained(fitted: Callable[[int], Any]) -> Callable[[int], Any]:
    """The published form of the model with a seed, made once for each seed."""
    from isthmus_training.acquire import acquire
    from isthmus_training.evaluate import evaluate
    from isthmus_training.manifest import Model, describe
    from isthmus_training.preprocess import split
    from isthmus_training.train import export

    data = acquire(None)
    samples = split(data)

    @functools.cache
    def train(seed: int) -> Model:
        onnx = export(fitted(seed))
        metrics = evaluate(onnx, fitted(seed), samples)
        return describe(name="digits", onnx=onnx, data=data, seed=seed, metrics=metrics)

    return train
