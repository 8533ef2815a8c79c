"""The setup reaches the described state from any other, and changes nothing when it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.platform.scripts import object_store_setup as setup
from tests.infra.platform.garage import TOKEN, Garage

KEY = {"access_key_id": "GK1", "secret_access_key": "s1"}
OURS = {"read": True, "write": True, "owner": False}


@pytest.fixture
def garage() -> Iterator[Garage]:
    cluster = Garage(nodes=3)
    yield cluster
    cluster.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "PAUSE_S", 0.01)


def run(garage: Garage, *, capacity: int = 100, **secrets: str) -> None:
    setup.run(garage.state(capacity), TOKEN, {"models": KEY | secrets}, patience_s=2)


def test_fresh_servers_become_one_store(garage: Garage) -> None:
    run(garage)
    assert garage.connected == {"node-0", "node-1", "node-2"}
    assert garage.roles == {f"node-{i}": {"zone": f"host-{i}", "capacity": 100} for i in range(3)}
    assert garage.buckets == {"models": {"GK1": OURS}}


def test_a_second_run_changes_nothing(garage: Garage) -> None:
    run(garage)
    garage.writes.clear()
    run(garage)
    assert garage.writes == []


def test_a_new_capacity_is_applied_and_nothing_else(garage: Garage) -> None:
    run(garage)
    garage.writes.clear()
    run(garage, capacity=200)
    assert garage.writes == ["UpdateClusterLayout", "ApplyClusterLayout"]
    assert {role["capacity"] for role in garage.roles.values()} == {200}


def test_a_node_that_is_no_longer_described_loses_its_role(garage: Garage) -> None:
    garage.roles = {"node-gone": {"zone": "host-9", "capacity": 100}}
    run(garage)
    assert garage.roles.keys() == {"node-0", "node-1", "node-2"}


def test_changes_that_somebody_staged_and_left_are_dropped(garage: Garage) -> None:
    garage.staged = [{"id": "node-stranger", "zone": "nowhere", "capacity": 1}]
    run(garage)
    assert "node-stranger" not in garage.roles


def test_another_key_loses_the_bucket(garage: Garage) -> None:
    run(garage)
    run(garage, access_key_id="GK2", secret_access_key="s2")
    assert garage.buckets["models"] == {"GK1": {"read": False, "write": False, "owner": False}, "GK2": OURS}


def test_a_known_key_with_another_secret_is_refused(garage: Garage) -> None:
    run(garage)
    with pytest.raises(setup.SetupError, match="GK1 is known with another secret: make a new key"):
        run(garage, secret_access_key="s2")


def test_a_server_that_does_not_answer_is_named(garage: Garage) -> None:
    state = garage.state()
    state["nodes"][2]["admin"] = "http://127.0.0.1:1"
    with pytest.raises(setup.SetupError, match=r"gave up waiting: http://127.0.0.1:1 answers \(.*refused"):
        setup.run(state, TOKEN, {"models": KEY}, patience_s=0.1)


def test_files_are_read_and_a_failure_is_one_line_without_secrets(
    garage: Garage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state.json").write_text(json.dumps(garage.state()))
    (tmp_path / "admin_token").write_text(f"{TOKEN}\n")
    (tmp_path / "models").mkdir()
    for name, value in KEY.items():
        (tmp_path / "models" / name).write_text(f"{value}\n")
    arguments = [str(tmp_path / "state.json"), str(tmp_path)]
    assert setup.main(arguments) == 0
    (tmp_path / "models" / "secret_access_key").write_text("another-secret")
    assert setup.main(arguments) == 1
    said = capsys.readouterr()
    assert said.err.startswith("the object store is not set up: key GK1")
    assert said.err.count("\n") == 1
    assert "another-secret" not in said.out + said.err


def test_each_bucket_is_open_to_its_own_key_alone(garage: Garage) -> None:
    state = {**garage.state(), "buckets": {"models": "workloads", "backups": "hosts"}}
    keys = {"models": KEY, "backups": {"access_key_id": "GK2", "secret_access_key": "s2"}}
    for _ in range(2):
        setup.run(state, TOKEN, keys, patience_s=2)
        assert garage.buckets == {"models": {"GK1": OURS}, "backups": {"GK2": OURS}}
        assert garage.keys["GK2"]["name"] == "hosts"
