"""The quorum of etcd is lost: a site is restored from a backup by docs/restore-etcd.md, and timed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from infra.environment import Environment
from infra.paths import ROOT
from ops import cluster, machines
from tests.ansible.conftest import role_yaml
from tests.e2e.conftest import wait_until_whole
from tests.e2e.polling import Poller

BACKUPS = role_yaml("etcd_backup", "defaults/main.yml")["etcd_backup_folder"]
RUNBOOK = ROOT / "docs" / "restore-etcd.md"
QUORUM = "## The quorum is lost"
RESTORE_S = 240
MARK = ("--namespace=default", "configmap")


def steps(heading: str) -> dict[int, str]:
    """The commands of a section of the runbook that stand by themselves, by the number of their step."""
    _, _, section = RUNBOOK.read_text().partition(heading)
    numbered = re.split(r"^(\d+)\. ", section.partition("\n## ")[0], flags=re.MULTILINE)[1:]
    return {
        int(number): "\n".join(re.findall(r"^ {8}(\S.*)$", text, re.MULTILINE))
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
    machines.run(chosen, "systemctl", "start", "isthmus-backup-etcd")
    backup = machines.run(chosen, "sh", "-c", f"ls -d {BACKUPS}/[0-9]*Z | tail -n 1").strip()
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
