"""How fast the inference server is, beside MLServer and a bare FastAPI service.

Paired: the three servers run side by side with the same model, one process and one core each, and get the same load in
turns, so that whatever else the machine does hits all of them. Compared are the medians of several rounds. The load
generator (wrk, in C) has the other core. Processor time a request is the figure that other work disturbs least.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx

from infra.paths import CACHE, ROOT
from ops.console import Failure, say
from ops.predict import held_out

ROUNDS, SECONDS, CONNECTIONS = 5, 4, 16
PEERS = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", "scikit-learn==1.9.1")  # scikit-learn: the version that trains
PATH = "/v2/models/digits/infer"
SOURCES = [ROOT / "workloads" / name / "src" for name in ("training", "inference")]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server under test."""

    name: str
    port: int
    process: subprocess.Popen


def measure() -> dict[str, float]:
    """Requests a second, milliseconds and memory of each server, and our throughput as a multiple of the others'."""
    if not shutil.which("wrk"):
        raise Failure("the load generator wrk is missing", fix="make up, which installs it")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        peers = prepare(folder, stack)
        rounds: list[dict[str, dict[str, float]]] = []
        for number in range(ROUNDS + 1):
            turn = peers[number % len(peers) :] + peers[: number % len(peers)]
            results = {peer.name: load(peer, folder / "body.json", SECONDS if number else 1) for peer in turn}
            if number:  # the first warms up
                rounds.append(results)
                say("    " + ", ".join(f"{p.name} {results[p.name]['per_s']:.0f}/s" for p in peers))
        memory = {peer.name: resident(peer.process.pid) for peer in peers}
    figures: dict[str, float] = {}
    for peer in peers:
        for figure in ("per_s", "p50_ms", "p99_ms", "cpu_us"):
            figures[f"{peer.name} {figure}"] = median(r[peer.name][figure] for r in rounds)
        figures[f"{peer.name} MiB"] = memory[peer.name]
    for other in peers[1:]:
        ratios = [r["isthmus"]["per_s"] / r[other.name]["per_s"] for r in rounds]
        figures[f"throughput, isthmus / {other.name}"] = median(ratios)
        work = [r[other.name]["cpu_us"] / r["isthmus"]["cpu_us"] for r in rounds]
        figures[f"processor time a request, {other.name} / isthmus"] = median(work)
        worst = [r["isthmus"]["p99_ms"] / r[other.name]["p99_ms"] for r in rounds]
        figures[f"p99, isthmus / {other.name}"] = median(worst)
    return figures


def prepare(folder: Path, stack: ExitStack) -> list[Peer]:
    """Trains the model once, hands it to all three servers, and starts them; ours comes first."""
    sys.path[:0] = [str(source) for source in SOURCES if str(source) not in sys.path]
    import joblib
    from isthmus_training import __main__ as training
    from isthmus_training.acquire import acquire
    from isthmus_training.preprocess import split
    from isthmus_training.train import fit

    store = stack.enter_context(object_store(folder))
    training.run(store, training.Progress())
    joblib.dump(fit(split(acquire(None)), int(store["ISTHMUS_SEED"])), folder / "model.joblib")
    images, labels = held_out()
    tensor = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": images[0].tolist()}
    (folder / "body.json").write_text(json.dumps({"inputs": [tensor]}))

    python = peers_python()
    ports = [free_port() for _ in range(5)]
    (folder / "settings.json").write_text(
        json.dumps(
            {
                "host": "127.0.0.1",
                "http_port": ports[1],
                "grpc_port": ports[3],
                "metrics_port": ports[4],
                "parallel_workers": 0,  # in its own process, which is also its fastest way on one core
                "debug": False,  # no line of log for each request: ours writes none either
            }
        )
    )
    (folder / "model-settings.json").write_text(
        json.dumps(
            {
                "name": "digits",
                "implementation": "mlserver_sklearn.SKLearnModel",
                "parameters": {"uri": str(folder / "model.joblib")},
            }
        )
    )
    ours = {"PYTHONPATH": str(SOURCES[1]), "ISTHMUS_HOST": "127.0.0.1", "ISTHMUS_PORT": str(ports[0]), **store}
    bare = {"PYTHONPATH": str(Path(__file__).parent), "BARE_MODEL": str(folder / "model.joblib")}
    serve = [
        str(python),
        "-m",
        "uvicorn",
        "bare:app",
        "--port",
        str(ports[2]),
        "--log-level",
        "warning",
        "--no-access-log",
    ]
    commands: tuple[tuple[str, list[str], dict[str, str]], ...] = (
        ("isthmus", [sys.executable, "-m", "isthmus_inference"], ours),
        ("mlserver", [str(python.parent / "mlserver"), "start", str(folder)], {}),
        ("bare", serve, bare),
    )
    peers = [
        Peer(name=name, port=port, process=stack.enter_context(running(name, command, variables, folder)))
        for port, (name, command, variables) in zip(ports, commands, strict=False)
    ]
    for peer in peers:
        check(peer, folder, int(labels[0]))
    return peers


@contextmanager
def object_store(folder: Path) -> Iterator[dict[str, str]]:
    """A moto S3 server with an empty bucket; yields the settings that lead our workloads to it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for file in ("access_key_id", "secret_access_key"):
        (folder / file).write_text("bench")
    boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
    ).create_bucket(Bucket="models")
    yield {
        "ISTHMUS_S3_ENDPOINT": f"http://{host}:{port}",
        "ISTHMUS_S3_REGION": "us-east-1",
        "ISTHMUS_S3_CREDENTIALS_DIR": str(folder),
        "ISTHMUS_SEED": "17",
    }
    server.stop()


def peers_python() -> Path:
    """The interpreter of the peers' own environment, which is made once and kept in the cache."""
    home = CACHE / "bench" / "-".join(PEERS).replace("==", "-")
    if not (home / "done").exists():
        say(f"    installing {', '.join(PEERS)} into {home}")
        uv, python = str(CACHE / "uv" / "bin" / "uv"), f"{sys.version_info.major}.{sys.version_info.minor}"
        for command in (
            [uv, "venv", "--quiet", "--clear", "--python", python, str(home)],
            [uv, "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *PEERS],
        ):
            done = subprocess.run(command, text=True, capture_output=True, check=False)
            if done.returncode:
                raise Failure(f"can't install the peers: {done.stderr.strip()[-300:]}", fix="see that PyPI is reached")
        (home / "done").touch()
    return home / "bin" / "python"


@contextmanager
def running(name: str, command: list[str], variables: dict[str, str], folder: Path) -> Iterator[subprocess.Popen]:
    """A server on core 0 with one thread for numbers; ended with the benchmark."""
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HOME": str(folder), "PATH": os.environ["PATH"]}
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [*pinned(0), *command], env={**quiet, **variables}, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def check(peer: Peer, folder: Path, expected: int) -> None:
    """Waits until the server answers, and answers right."""
    deadline = time.monotonic() + 90
    while True:
        try:
            answer = httpx.post(
                f"http://127.0.0.1:{peer.port}{PATH}",
                content=(folder / "body.json").read_bytes(),
                headers={"Content-Type": "application/json"},
                trust_env=False,
            )
            if answer.status_code == 200:
                break
            state = answer.text[:200]
        except httpx.TransportError as fault:
            state = str(fault)
        if peer.process.poll() is not None or time.monotonic() > deadline:
            log = (folder / f"{peer.name}.log").read_text()[-600:]
            raise Failure(f"{peer.name} does not answer ({state}): {log}", fix="see its log above")
        time.sleep(0.2)
    if answer.json()["outputs"][0]["data"] not in ([expected], [[expected]]):
        raise Failure(f"{peer.name} answers {answer.text[:200]}, not {expected}", fix="compare its model with ours")


def load(peer: Peer, body: Path, seconds: int) -> dict[str, float]:
    """One round of load on one server."""
    before = processor_seconds(peer.process.pid)
    script = Path(__file__).with_name("inference.lua")
    done = subprocess.run(
        [
            *pinned(1),
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds}s",
            "--latency",
            "--timeout",
            "20s",
            "-s",
            str(script),
            f"http://127.0.0.1:{peer.port}{PATH}",
        ],
        env={**os.environ, "BENCH_BODY": str(body)},
        text=True,
        capture_output=True,
        check=True,
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    figures["cpu_us"] = (processor_seconds(peer.process.pid) - before) / figures.pop("requests") * 1e6
    if figures.pop("errors"):
        raise Failure(f"{peer.name} failed requests under load", fix=f"run it by hand: {done.stdout}")
    return figures


def pinned(core: int) -> list[str]:
    """A core of its own for the servers and one for the load, where the machine has two."""
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


def processor_seconds(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """MiB of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
