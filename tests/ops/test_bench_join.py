"""`make bench ARGS=join`: what joins on each road, and what a person would have typed on the bare one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from infra import environment_checks, inventory
from infra.environment import Environment, Host
from infra.platform import cilium
from infra.providers.isthmus.podman import Podman
from infra.providers.isthmus.runner import Job, Outcome
from ops.bench import join, site
from ops.console import Failure
from ops.up import load
from tests.ansible.conftest import role_yaml
from tests.infra import recording

PRINTED = "kubeadm join 10.93.0.100:8443 --token abcdef.0123456789abcdef --discovery-token-ca-cert-hash sha256:12ab \n"


class Machines:
    """Notes what is run on which host."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []
        self.removed: list[str] = []

    def execute(self, host: str, *command: str, **_options: Any) -> str:
        step = command[3:] if command[:3] == ("bash", "-s", "--") else command
        self.told.append((host, *step))
        return PRINTED if step[0] == "ticket" else ""

    def inspect(self, name: str) -> dict[str, Any]:
        return {"Id": name}

    def remove(self, *names: str) -> None:
        self.removed += names


@pytest.fixture
def there(tmp_path: Path) -> site.Site:
    settings = site.moved(load("local"))
    keys = {host.name: "ssh-ed25519 key" for host in settings.onprem.hosts}
    podman = cast("Podman", Machines())
    return site.Site(environment=settings, index=recording.index(), podman=podman, key=tmp_path / "key", host_keys=keys)


def test_hosts_more_are_workers_at_addresses_of_their_own() -> None:
    settings = site.moved(load("local"))
    more = join.workers(settings, join.OURS, join.BARE)
    assert [len(hosts) for hosts in more] == [join.ROUNDS, join.ROUNDS]
    new = [host for hosts in more for host in hosts]
    wider = settings
    for host in new:
        wider = join.with_host(wider, host)
    assert wider.onprem.hosts == (*settings.onprem.hosts, *new)
    assert Environment.model_validate(wider.model_dump()) == wider
    assert environment_checks.problems(wider) == environment_checks.problems(settings)

    network = wider.onprem.network
    taken = {host.address for host in settings.onprem.hosts} | {network.gateway, network.mirror_address}
    addresses = {host.address for host in new}
    assert not addresses & (taken | {network.api_address, network.ingress_address})
    assert len(addresses) == len(new)
    groups = inventory.inventory(wider.onprem, {host.name: "" for host in wider.onprem.hosts})["all"]["children"]
    for host in new:
        assert {group for group, members in groups.items() if host.name in members["hosts"]} == {"worker"}


def test_on_the_bare_road_the_host_is_prepared_then_joined(there: site.Site) -> None:
    bare = join.workers(there.environment, join.BARE)[0][0]
    join.bare_join(there, bare)

    first = there.environment.onprem.hosts[0].name
    prepared, ticket, joined = cast("Machines", there.podman).told
    assert prepared[:2] == (bare.name, "prepare")
    assert ticket == (first, "ticket")
    assert joined == (bare.name, "join", "10.93.0.100:8443", "abcdef.0123456789abcdef", "sha256:12ab")


def test_a_road_is_at_its_end_when_its_node_is_ready_and_it_has_nothing_more_to_do(there: site.Site) -> None:
    host = there.environment.onprem.hosts[-1]
    _, ready = join.joined(there, host, partial(time.sleep, 0.2))

    assert ready >= 0.2, "the stub's node is Ready at once, and the road goes on"
    asked = cast("Machines", there.podman).told
    conditions = [word for command in asked for word in command if word.startswith("--for=")]
    assert conditions == ["--for=create", "--for=condition=Ready"]
    assert all(f"node/{host.name}" in command for command in asked)


def test_our_road_is_a_run_about_the_host_that_is_new_in_every_round(
    there: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []

    def ran(job: Job, _recorder: object) -> Outcome:
        jobs.append(job)
        return Outcome(succeeded=True, results={})

    monkeypatch.setattr(site, "run", ran)
    ((first, second, *_),) = join.workers(there.environment, join.OURS)
    there.playbook(there.environment)
    for host in (first, second):
        there.host_keys[host.name] = "ssh-ed25519 key"
        there.playbook(join.with_host(there.environment, host))
        there.playbook(there.environment)
        there.remove(host)
    everybody = [host.name for host in there.environment.onprem.hosts]
    assert [job.changed_hosts for job in jobs] == [everybody, [first.name], everybody, [second.name], everybody]
    assert cast("Machines", there.podman).removed == [first.name, second.name]
    assert not {first.name, second.name} & there.host_keys.keys()


def test_each_road_finds_the_same_cluster_and_the_playbook_no_node_that_it_does_not_know(
    there: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes: set[str] = set()
    found: list[tuple[str, set[str]]] = []

    def by_playbook(environment: Environment) -> None:
        assert not [name for name in nodes if name.startswith(join.BARE)], "it would see it off, and take longer"
        nodes.clear()
        nodes.update(host.name for host in environment.onprem.hosts)

    def joined(_there: site.Site, host: Host, road: Callable[[], object]) -> tuple[float, float]:
        found.append((host.name, {*nodes}))
        road()
        nodes.add(host.name)
        return 1.0, 2.0

    monkeypatch.setattr(join.site, "made", lambda _: contextlib.nullcontext(there))
    monkeypatch.setattr(site.Site, "boot", lambda *_: None)
    monkeypatch.setattr(site.Site, "network", lambda *_: None)
    monkeypatch.setattr(site.Site, "remove", lambda *_: None)
    monkeypatch.setattr(site.Site, "playbook", lambda _, environment: by_playbook(environment))
    monkeypatch.setattr(site.Site, "kubectl", lambda _, *words: nodes.discard(words[-1]))
    monkeypatch.setattr(join, "settle", lambda _: None)
    monkeypatch.setattr(join, "joined", joined)
    assert join.measure("local")["ratio"] == 1.0
    everybody = {host.name for host in there.environment.onprem.hosts}
    assert all(before == everybody for _, before in found)
    roads = [name.rpartition("-")[0] for name, _ in found]
    assert roads == ([join.OURS, join.BARE, join.BARE, join.OURS] * join.ROUNDS)[: 2 * join.ROUNDS]


def test_the_network_is_the_platforms_and_awaited(there: site.Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cilium, "objects", lambda *_arguments: [{"kind": "DaemonSet"}])
    there.network()
    applied, awaited = cast("Machines", there.podman).told
    assert applied[-3:] == ("apply", "--filename", "-")
    assert {"wait", "--all", "condition=Ready"} <= set(awaited)


def test_before_a_road_is_measured_every_host_has_fetched_its_images_and_rests(
    there: site.Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    rested: list[float] = []
    monkeypatch.setattr(join.time, "sleep", rested.append)
    join.settle(there)
    told = cast("Machines", there.podman).told
    assert [host for host, *_ in told] == list(there.host_keys)
    assert all(join.FETCHING in command for *_, command in told)
    assert rested == [join.REST_S]


def test_what_waits_for_the_fetching_does_not_wait_for_itself() -> None:
    (fetching,) = role_yaml("kubernetes_node", "tasks/fetch_images.yml")
    script = fetching["ansible.builtin.command"]["argv"][-1]
    with subprocess.Popen(["bash", "-c", 'exec -a "$0" sleep 2', script]) as busy:
        asked = ["timeout", "5", "sh", "-c", f"echo $$; {join.FETCHING}; true"]
        waiting, *found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    assert str(busy.pid) in found
    assert waiting not in found


def test_a_ticket_that_is_none_is_refused() -> None:
    assert site.ticket(PRINTED) == ("10.93.0.100:8443", "abcdef.0123456789abcdef", "sha256:12ab")
    with pytest.raises(Failure, match="no join command: timed out"):
        site.ticket("timed out")


def typed(tmp_path: Path, *step: str) -> list[str]:
    """The calls of kubeadm that a step of the script makes."""
    program = tmp_path / "kubeadm"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/told\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", str(site.SCRIPT), *step], env=environment, check=True, capture_output=True)
    return (tmp_path / "told").read_text().splitlines()


def test_the_script_joins_a_worker_or_a_control_plane(tmp_path: Path) -> None:
    (worker,) = typed(tmp_path, "join", "10.93.0.100:8443", "TOKEN", "HASH")
    common = "join 10.93.0.100:8443 --token TOKEN --discovery-token-ca-cert-hash HASH "
    assert worker.startswith(common + "--cri-socket ")
    assert "--control-plane" not in worker
    _, member = typed(tmp_path, "join", "10.93.0.100:8443", "TOKEN", "HASH", "10.93.0.12", "KEY")
    control_plane = "--control-plane --apiserver-advertise-address 10.93.0.12 --certificate-key KEY "
    assert member.startswith(common + control_plane + "--cri-socket ")


def test_the_script_uploads_certificates_only_for_a_control_plane(tmp_path: Path) -> None:
    assert typed(tmp_path, "ticket") == ["token create --print-join-command"]
    assert typed(tmp_path, "ticket", "control-plane")[2:] == [
        "init phase upload-certs --upload-certs --config /run/init.yaml"
    ]
