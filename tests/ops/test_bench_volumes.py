"""The benchmark of volumes: what it makes, what it computes, what it refuses, and that nothing of it stays."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from infra import environment
from infra.naming import LAB_NAS, LAB_POOL, STORAGE_CLASS
from infra.paths import ROOT
from infra.platform import pods
from infra.providers.isthmus.handler import ResourceError
from ops import cluster, machines
from ops.bench import namespace, objects, volume_speed, volume_start, volumes
from ops.bench.namespace import Namespace
from ops.console import Failure
from tests.infra import recording
from tests.infra.manifests import rules

IMAGE = f"registry.isthmus.internal/inference@sha256:{'0' * 64}"
NAME = objects.NAMESPACE


def pod(claimed: str | None = "data") -> dict[str, Any]:
    return objects.pod("one", node="onprem-1", image=IMAGE, program="pass", claimed=claimed)


class Api:
    """A cluster of which only pods, claims and their volumes are known; a pod has ended as soon as it is asked for."""

    def __init__(self, *, ends: str = "Succeeded") -> None:
        self.ends = ends
        self.held: dict[str, list[dict[str, Any]]] = {"pods": [], "persistentvolumeclaims": []}
        self.volumes: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        self.asked.append((method, path))
        if path == "/api/v1/persistentvolumes":
            found, self.volumes = self.volumes, []  # gone the next time
            return {"items": found}
        plural, _, name = path.removeprefix(f"/api/v1/namespaces/{NAME}/").partition("/")
        match method, plural:
            case "POST", _:
                assert body is not None
                self.held[plural].append(body)
                if plural == "persistentvolumeclaims":
                    claim = {"namespace": NAME, "name": body["metadata"]["name"]}
                    self.volumes.append({"metadata": {"name": "pv-1"}, "spec": {"claimRef": claim}})
                return body
            case "DELETE", _:
                self.held[plural] = []
                return {}
            case "GET", "pods" if name:
                state = {"terminated": {"reason": "Error", "message": str(time.monotonic())}}
                return {"status": {"phase": self.ends, "containerStatuses": [{"state": state}]}}
        return {"items": self.held.get(plural, [])}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace, "PAUSE_S", 0)
    monkeypatch.setattr(namespace, "PATIENCE_S", 2)


def space(api: Api) -> Namespace:
    return Namespace(environment="local", node="onprem-1", image=IMAGE, ask=api)


@pytest.mark.parametrize("claimed", ["data", None])
def test_its_pods_keep_to_our_rules(claimed: str | None) -> None:
    assert rules.broken([pod(claimed)]) == set()


def test_its_namespace_is_as_closed_as_ours() -> None:
    made, policy = objects.namespace()
    assert made["metadata"]["labels"].items() >= pods.RESTRICTED.items()
    assert policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert all(one["metadata"]["labels"] == pods.selector(NAME) for one in (policy, pod(), objects.claim("a", 1)))
    assert pods.USER == objects.USER


def test_the_pods_that_are_compared_differ_in_their_volume_alone() -> None:
    one, other = pod("data"), pod(None)
    assert one["spec"].pop("volumes") == [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    assert other["spec"].pop("volumes") == [{"name": "data", "emptyDir": {}}]
    assert one == other
    assert one["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "onprem-1"}
    assert one["spec"]["containers"][0]["imagePullPolicy"] == "Never"


def test_a_claim_is_one_of_the_default_class() -> None:
    spec = objects.claim("data", 1 << 20)["spec"]
    assert (spec["storageClassName"], spec["resources"]) == (STORAGE_CLASS, {"requests": {"storage": "1048576"}})


def test_starts_are_measured_in_turns_and_nothing_of_them_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_start, "PAIRS", 2)
    api = Api()
    order: list[str] = []
    create = Namespace.create

    def noted(self: Namespace, one: dict[str, Any]) -> None:
        order.append(f"{one['kind']} {one['metadata']['name']}")
        create(self, one)

    monkeypatch.setattr(Namespace, "create", noted)
    found = volume_start.measure(space(api))
    assert order == [
        *("Pod without-0", "PersistentVolumeClaim with-0", "Pod with-0"),
        *("PersistentVolumeClaim with-1", "Pod with-1", "Pod without-1"),
        *("Pod without-2", "PersistentVolumeClaim with-2", "Pod with-2"),
    ]
    assert not any(api.held.values()) and not api.volumes
    assert all(value > 0 for value in found.values())


def test_figures_of_starts_are_medians_and_the_ratio_is_that_of_pairs() -> None:
    # One pair met other work: its own ratio is no other than that of the rest.
    assert volume_start.figures([(3, 2), (30, 20), (4, 2)]) == {
        "start with a volume, s": 4,
        "start without, s": 2,
        "start, with / without": 1.5,
    }


def test_the_pods_program_writes_and_says_when(tmp_path: Path) -> None:
    program = volume_start.PROGRAM.replace(objects.FOLDER, str(tmp_path))
    program = program.replace("/dev/termination-log", str(tmp_path / "told"))
    before = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True)
    assert before < float((tmp_path / "told").read_text()) < time.monotonic()
    assert (tmp_path / "file").stat().st_size == 4096


def test_a_pod_that_fails_or_does_not_come_is_told_of_with_the_reason() -> None:
    with pytest.raises(Failure, match=r"pod one failed: Failed, Error, \d"):
        space(Api(ends="Failed")).said("one")
    with pytest.raises(Failure, match="pod one is not there within 2 s: Pending"):
        space(Api(ends="Pending")).said("one")


def test_reasons_come_from_the_container_and_from_the_scheduler() -> None:
    waits = {"waiting": {"reason": "ErrImageNeverPull", "message": "no such image"}}
    status = {"phase": "Pending", "containerStatuses": [{"state": waits}]}
    assert namespace.told({"status": status}) == "Pending, ErrImageNeverPull, no such image"
    scheduled = {"type": "PodScheduled", "status": "False", "message": "unbound claim"}
    assert namespace.told({"status": {"phase": "Pending", "conditions": [scheduled]}}) == "Pending, unbound claim"


class Kubectl:
    """Notes what kubectl is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, _environment: str, *arguments: str, **_: Any) -> str:
        self.told.append(" ".join(arguments[:2]))
        if arguments[0] == "create":
            kinds = [one["kind"] for one in json.loads(Path(arguments[2]).read_text())["items"]]
            assert kinds == ["Namespace", "NetworkPolicy"]
        return IMAGE if arguments[0] == "get" else ""


@pytest.mark.parametrize("fault", [None, KeyboardInterrupt, Failure("no", fix="none")])
def test_the_namespace_goes_however_the_work_ends(
    monkeypatch: pytest.MonkeyPatch, fault: type[BaseException] | BaseException | None
) -> None:
    kubectl = Kubectl()
    monkeypatch.setattr(cluster, "kubectl", kubectl)
    monkeypatch.setattr(cluster, "items", lambda *_: [])
    monkeypatch.setattr(namespace, "connection", lambda _: Api())
    try:
        with namespace.made("local", "onprem-1") as made:
            assert made.image == IMAGE
            if fault:
                raise fault
    except (KeyboardInterrupt, Failure):
        assert fault
    gone = "delete namespace"
    assert kubectl.told == ["get deployment", gone, "create -f", "wait --for=create", gone]


def test_volumes_that_stay_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"metadata": {"name": "pv-1"}, "spec": {"claimRef": {"namespace": NAME}}}
    other = {"metadata": {"name": "pv-2"}, "spec": {"claimRef": {"namespace": "monitoring"}}}
    unclaimed = {"metadata": {"name": "pv-3"}, "spec": {}}
    monkeypatch.setattr(cluster, "kubectl", Kubectl())
    monkeypatch.setattr(cluster, "items", lambda *_: [ours, other, unclaimed])
    monkeypatch.setattr(namespace, "PATIENCE_S", -1)
    with pytest.raises(Failure, match="volumes pv-1 are left"):
        namespace.remove("local")


def transfer(*arguments: str | Path) -> dict[str, float] | None:
    command = [sys.executable, "-c", volume_speed.PROGRAM, *map(str, arguments)]
    printed = subprocess.run(command, check=True, text=True, capture_output=True).stdout
    return json.loads(printed) if printed else None


def test_the_program_writes_a_new_file_forgets_and_reads_it(tmp_path: Path) -> None:
    size = 3 * volume_speed.MIB + 5
    file = tmp_path / "file"
    file.write_text("an earlier run's")
    for action in ("write", "read"):
        told = transfer(action, file, str(size))
        assert told is not None and told["bytes"] == size and told["seconds"] > 0
    content = file.read_bytes()
    assert len(content) == size and content[:64].strip(b"\0")
    (tmp_path / "folder").mkdir()
    assert transfer("forget", tmp_path) is None
    assert file.read_bytes() == content


def test_the_program_does_not_time_a_file_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("short")
    with pytest.raises(subprocess.CalledProcessError):
        transfer("read", tmp_path / "file", "6")


@pytest.mark.parametrize(("mib_a_second", "mib"), [(1, 128), (100.7, 302), (5000, 1024)])
def test_a_file_takes_some_seconds_within_bounds(mib_a_second: float, mib: int) -> None:
    assert volume_speed.chosen(mib_a_second) == mib << 20


def test_figures_of_speed_are_medians_and_the_share_is_that_of_rounds() -> None:
    rounds = [
        {
            "volume": {"write": volume, "read": 2 * volume},
            "pool": {"write": pool, "read": pool},
            "folder": {"write": 2 * pool, "read": pool},
        }
        for volume, pool in ((90.0, 100.0), (9.0, 10.0), (50.0, 100.0))
    ]
    assert volume_speed.figures(rounds) == {
        "write, volume, MiB/s": 50,
        "write, pool, MiB/s": 100,
        "write, folder, MiB/s": 200,
        "write, volume / pool": 0.9,
        "write, pool / folder": 0.5,
        "read, volume, MiB/s": 100,
        "read, pool, MiB/s": 100,
        "read, folder, MiB/s": 100,
        "read, volume / pool": 1.8,
        "read, pool / folder": 1,
    }


@pytest.mark.parametrize("broken", [False, True])
def test_all_three_move_the_same_and_forget_the_same(monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    done: list[tuple[str, ...]] = []
    size = 384 * volume_speed.MIB
    paths = (f"{LAB_NAS}/{NAME}", f"/proc/2143/root{LAB_POOL}/{NAME}")

    def program(side: str, arguments: tuple[str, ...]) -> str:
        done.append((side, *arguments))
        if broken and side == "pod":
            raise Failure("no answer", fix="none")
        return json.dumps({"bytes": int(arguments[-1]), "seconds": 1.0}) if arguments[0] != "forget" else ""

    def machine(_name: str, *command: str, timeout_s: float) -> str:
        assert timeout_s > 30
        if command[0] == "pgrep":
            return "2143\n"
        if command[0] == "rm":
            done.append(("host", *command))
            return ""
        return program("host", command[3:])

    monkeypatch.setattr(machines, "run", machine)
    monkeypatch.setattr(volume_speed, "in_pod", lambda _environment, *arguments: program("pod", arguments))
    monkeypatch.setattr(Namespace, "running", lambda *_: None)
    monkeypatch.setattr(volume_speed, "ROUNDS", 6)
    api = Api()
    if broken:
        with pytest.raises(Failure):
            volume_speed.measure(space(api))
    else:
        found = volume_speed.measure(space(api))
        assert found["write, volume / pool"] == found["write, pool / folder"] == 1
        each = [
            (("write", path, str(size)), ("forget", LAB_NAS), ("read", path, str(size)))
            for path in (*paths, "/data/file")
        ]
        assert all(call[0] == ("pod" if "/data/file" in call else "host") for call in done)
        calls = [call[1:] for call in done[1:-1]]
        transfers = [tuple(calls[at : at + 3]) for at in range(0, len(calls), 3)]
        rounds = [tuple(transfers[at : at + 3]) for at in range(0, len(transfers), 3)]
        assert set(rounds[0]) == set(each), "the first warms up"
        assert sorted(rounds[1:]) == sorted(permutations(each)), "none comes after the same one more often than another"
    assert done[-1] == ("host", "rm", "-f", *paths), "however it ends"
    (claim,) = api.held["persistentvolumeclaims"]
    assert int(claim["spec"]["resources"]["requests"]["storage"]) == 3 * size


def test_a_machine_that_does_not_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: str, **__: float) -> str:
        raise ResourceError("no such container")

    monkeypatch.setattr(machines, "run", run)
    with pytest.raises(Failure, match="no such container"):
        volume_speed.on_host("onprem-1", "forget", LAB_NAS)


def test_without_storage_and_without_a_lab_it_says_what_to_do() -> None:
    plain = environment.load(ROOT / "tests" / "environments" / "valid" / "watched-without-volumes.yaml")
    with pytest.raises(Failure, match=r"set platform.storage in environments/watched-without-volumes.yaml"):
        volumes.check(plain)
    with pytest.raises(Failure, match="another driver's"):
        volumes.check(environment.load(ROOT / "environments" / "prod.yaml"))
    volumes.check(recording.local())


def test_the_first_worker_that_takes_pods_is_measured() -> None:
    local = recording.local()
    assert volumes.worker(local, ["onprem-3", "onprem-2"]) == "onprem-2"
    with pytest.raises(Failure, match="no host of local takes pods"):
        volumes.worker(local, [])
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}, "spec": {}}
    assert volumes.fit(ready)
    assert not volumes.fit({**ready, "spec": {"unschedulable": True}})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, list[tuple[str, str, Any]]]]:
    """A kubeconfig, and what its server was asked."""
    asked: list[tuple[str, str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append((self.command, self.path, json.loads(sent) if sent else None))
            code = 404 if "none" in self.path else 409 if "taken" in self.path else 200
            body = json.dumps({"code": code, "message": "told"}).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    serving = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    kubeconfig = tmp_path / "kubeconfig"
    cluster_ = {"server": f"http://127.0.0.1:{serving.server_port}"}
    kubeconfig.write_text(
        json.dumps(
            {
                "current-context": "one",
                "clusters": [{"name": "one", "cluster": cluster_}],
                "users": [{"name": "one", "user": {}}],
                "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            }
        )
    )
    yield kubeconfig, asked
    serving.shutdown()
    thread.join()
    serving.server_close()


def test_the_api_is_asked_with_kubernetes_own_client(server: tuple[Path, list[tuple[str, str, Any]]]) -> None:
    kubeconfig, asked = server
    ask = namespace.connection(kubeconfig)
    assert ask("POST", "/api/v1/namespaces/a/pods", {"kind": "Pod", "metadata": {}})["code"] == 200
    assert ask("GET", "/api/v1/none") is None
    assert ask("DELETE", "/api/v1/pods")["code"] == 200
    assert asked == [
        ("POST", "/api/v1/namespaces/a/pods", {"kind": "Pod", "metadata": {}}),
        ("GET", "/api/v1/none", None),
        ("DELETE", "/api/v1/pods", None),
    ]
    with pytest.raises(Failure, match=r"taken: .*told"):
        ask("POST", "/api/v1/taken", {})


def test_an_api_that_is_away_is_a_failure(tmp_path: Path, server: tuple[Path, Any]) -> None:
    away = tmp_path / "away"
    kubeconfig = json.loads(server[0].read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
    away.write_text(json.dumps(kubeconfig))
    with pytest.raises(Failure, match="no answer"):
        namespace.connection(away)("GET", "/api/v1/pods")
