"""The quorum of etcd is lost, then every disk: a site is restored from a backup by docs/restore-etcd.md, and timed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.environment import Environment, Host
from infra.paths import ROOT, state
from infra.providers.isthmus.podman import Podman
from ops import cluster, engine, machines
from ops.up import ssh_key
from tests.e2e import copies
from tests.e2e.conftest import variables_for_make, wait_until_whole
from tests.e2e.polling import Poller

RUNBOOK = ROOT / "docs" / "restore-etcd.md"
COPY, FETCH = (re.compile(rf"^ {{4}}({word} \S.*)$", re.MULTILINE) for word in ("ssh", "make backups"))
"""How a backup is got off a site that stands alone, and how it is had from the other one."""
QUORUM, DISKS = "## The quorum is lost", "## Every control plane is lost"
RESTORE_S = 240
MARK = ("--namespace=default", "configmap")


def steps(heading: str) -> dict[int, str]:
    """The commands of a section of the runbook that stand by themselves, by the number of their step."""
    _, _, section = RUNBOOK.read_text().partition(heading)
    numbered = re.split(r"^(\d+)\. ", section.partition("\n## ")[0], flags=re.MULTILINE)[1:]
    return {
        int(number): "\n".join(re.findall(r"^ {8}(.*\S)$", text, re.MULTILINE))
        for number, text in zip(numbered[::2], numbered[1::2], strict=True)
    }


def marks(environment: str) -> set[str]:
    """Which of this test's objects there are."""
    found = cluster.items(environment, "configmap", "-n", "default", "-l", "test=restore")
    return {item["metadata"]["name"] for item in found}


def mark(environment: str, name: str) -> None:
    cluster.kubectl(environment, "create", *MARK, name)
    cluster.kubectl(environment, "label", *MARK, name, "test=restore")


def test_a_site_without_quorum_is_restored_from_a_backup(
    environment: str, settings: Environment, ingress: str, make: Callable[..., object]
) -> None:
    chosen, *others = [host.name for host in reversed(settings.onprem.having("control_plane"))]
    way = steps(QUORUM)
    assert way[2] and way[3], f"{RUNBOOK} gives no commands there"
    cluster.kubectl(environment, "delete", *MARK, "-l", "test=restore")  # of a run that did not come to its end
    mark(environment, "before-the-backup")
    backup = copies.back_up(chosen)
    mark(environment, "after-the-backup")
    assert marks(environment) == {"before-the-backup", "after-the-backup"}
    with Poller(f"{ingress}/v2/health/ready", interval=0.05) as client:
        for host in others:
            machines.run(host, "sh", "-ec", way[2])
        start = time.monotonic()
        machines.run(chosen, *re.sub(r"\S+/\d{8}T\d{6}Z", backup, way[3]).split(), timeout_s=RESTORE_S)
        answers = time.monotonic() - start
        make("up", "HOSTS=1")
        whole = wait_until_whole(environment, settings)
        took = time.monotonic() - start
    print(
        f"the API answered on {chosen} {answers:.0f} s after the restore began, all was whole after {took:.0f} s, "
        f"{whole:.0f} s after `make up`; longest gap in predictions {client.longest:.2f} s; answers {client.codes}"
    )
    assert client.answered > 0
    assert marks(environment) == {"before-the-backup"}
    members = {node["metadata"]["name"] for node in cluster.items(environment, "nodes") if cluster.ready(node)}
    assert members >= {chosen, *others}
    cluster.kubectl(environment, "delete", *MARK, "before-the-backup")


def test_a_site_that_lost_every_disk_is_rebuilt_from_a_copy_of_a_backup(
    environment: str,
    settings: Environment,
    ingress: str,
    make: Callable[..., object],
    shell: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> None:
    """With two sites the copy is the one that the other site has, asked for once the disks are gone."""
    first, way = settings.onprem.having("control_plane")[0], steps(DISKS)
    cluster.kubectl(environment, "delete", *MARK, "-l", "test=restore")
    mark(environment, "before-the-backup")
    backup = copies.back_up(first.name)
    copy, fetch = (found.search(RUNBOOK.read_text()) for found in (COPY, FETCH))
    assert copy and fetch and way[2] and way[3] and way[4], f"{RUNBOOK} gives no commands there"
    if settings.cloud:
        copied = copies.wait_for_copy(request.getfixturevalue("aws")("s3"), first.name, Path(backup).name)
        print(f"the other site had a copy {copied:.0f} s after the backup")
    else:
        shell(f"mkdir SAFE/{first.name}\n{on(first, copy[1])}")
    mark(environment, "after-the-backup")
    for host in settings.onprem.hosts:
        Podman.default().remove(host.name)
        shutil.rmtree(state(environment) / "machines" / host.name)
    start = time.monotonic()
    with Poller(f"{ingress}/v2/health/ready", interval=0.05) as client:
        prepared = [word for host in settings.onprem.hosts for word in ("--target", f"**:Machine::{host.name}")]
        engine.pulumi(environment, "up", "--yes", "--skip-preview", "--stack", environment, *prepared)
        hosts = time.monotonic() - start
        if settings.cloud:
            shell(on(first, fetch[1]))
        shell(on(first, way[2]).replace("BACKUP", f"SAFE/{first.name}/{Path(backup).name}"))
        shell(way[3])
        cluster_up = time.monotonic() - start
        assert marks(environment) == {"before-the-backup"}
        shell(way[4])
        wait_until_whole(environment, settings)
        took = time.monotonic() - start
    print(
        f"empty hosts after {hosts:.0f} s, the cluster as in the backup after {cluster_up:.0f} s, everything whole "
        f"after {took:.0f} s; longest gap in predictions {client.longest:.0f} s"
    )
    assert "sha256:" in make("predict", "INDEX=0").stdout
    make("preview", "HOSTS=1", "ARGS=--expect-no-changes")
    cluster.kubectl(environment, "delete", *MARK, "before-the-backup")


def on(host: Host, command: str) -> str:
    """A command of the runbook with the host's name and address in it."""
    return re.sub(r"\bHOST\b", host.name, re.sub(r"\bADDRESS\b|(?<=@)HOST\b", str(host.address), command))


@pytest.fixture
def shell(environment: str, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Runs commands of the runbook where `make` is run. SAFE in them is a folder that is gone afterwards."""
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    ssh = tmp_path / "bin" / "ssh"  # the operator's own key and known hosts
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -i {ssh_key(environment)} {options} "$@"\n')
    ssh.chmod(0o755)
    safe = tmp_path / "safe"
    safe.mkdir(mode=0o700)
    settings = {**variables_for_make(), "PATH": f"{ssh.parent}:{os.environ['PATH']}"}

    def run(commands: str) -> None:
        script = 'eval "$(make -s env)"\n' + commands.replace("SAFE", str(safe))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env=settings,
            stdin=subprocess.DEVNULL,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"

    yield run
    shutil.rmtree(safe)
