"""An AWS API of moto's on loopback, and a stack whose program is the cloud half of an environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from infra.paths import ROOT
from tests.providers.offline.engine import Stack

REGION = "eu-central-1"

PROGRAM = """
import pathlib, sys
sys.path.insert(0, {root!r})
import pulumi
from infra import environment
from infra.cloud.cloud import Cloud, CloudArgs
from infra.cloud.cloud import kubeconfig
env = environment.load(pathlib.Path("laboratory.yaml"))
cloud = Cloud("cloud", CloudArgs(environment=env, endpoint={endpoint!r}))
pulumi.export("kubeconfig", cloud.kubeconfig)
pulumi.export("key", cloud.link.tunnels[0].preshared_key)
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    # Without it moto knows none of Amazon's own policies.
    os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    # What moto holds is the process', and may be another test's, made without those policies.
    httpx.post(f"{url}/moto-api/reset").raise_for_status()
    yield url
    server.stop()
    del os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"]


@pytest.fixture(scope="module")
def aws(endpoint: str) -> Callable[[str], Any]:
    """boto3's client of a service, at that API."""

    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="lab",
            aws_secret_access_key="lab",
            config=Config(s3={"addressing_style": "path"}),
        )

    return client


def laboratory(**changes: str) -> str:
    """environments/local.yaml with a cloud half; `changes` replace words of it."""
    text = (ROOT / "environments" / "local.yaml").read_text().replace("name: local #", "name: laboratory #")
    full = (ROOT / "tests" / "environments" / "valid" / "with-a-cloud.yaml").read_text()
    cloud = full[full.index("cloud:\n") : full.index("platform:\n")]
    cloud = cloud.replace("provisioner: aws", "provisioner: lab\n  deletable: true")
    text = text.replace("\nplatform:\n", f"\n{cloud}\nplatform:\n", 1)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def stack(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    made = Stack(folder=Path(tmp_path_factory.mktemp("aws")) / "project", package="aws", prelude="")
    made.prepare()
    (made.folder / "laboratory.yaml").write_text(laboratory())
    made.program(PROGRAM.format(root=str(ROOT), endpoint=endpoint))
    return made
