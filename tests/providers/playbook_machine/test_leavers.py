"""The plays of site.yml about hosts that left, on a machine that holds an address and whose kubelet runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.onprem.cluster import FOLDER
from infra.providers.isthmus.playbook import Playbook
from tests.providers.playbook_machine.conftest import NOBODY, Spoken, context, host, on_machine

pytestmark = pytest.mark.machine

FLOATING = "10.92.0.50"
KEEPALIVED = f"""
vrrp_instance api {{
  state MASTER
  interface eth0
  virtual_router_id 51
  priority 100
  virtual_ipaddress {{
    {FLOATING}/32 dev lo scope host
  }}
}}
"""
KUBELET = "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
KUBEADM = '#!/bin/sh\necho "$@" >> /run/told\n'


@pytest.fixture
def site(machine: dict[str, Any], inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The plays of site.yml about who left, on a machine that holds an address and whose kubelet runs."""
    plays = [play for play in yaml.safe_load((FOLDER / "site.yml").read_text()) if " that left" in play["name"]]
    wanted = [play for play in plays if play["name"] != "Nodes that left"]
    assert len(wanted) == 2
    (Path(inputs["folder"]) / "site.yml").write_text(yaml.safe_dump(wanted))
    config = Path(inputs["folder"]) / "ansible.cfg"
    places = f"[defaults]\nroles_path = {FOLDER / 'roles'}\ncollections_path = {FOLDER / 'collections'}\n"
    config.write_text(config.read_text().replace("[defaults]\n", places))
    files = {
        "/etc/keepalived/keepalived.conf": KEEPALIVED,
        "/etc/systemd/system/kubelet.service": KUBELET,
        "/usr/local/bin/kubeadm": KUBEADM,
        "/etc/kubernetes/kubelet.conf": "",
        "/etc/kubernetes/isthmus/member": "",
    }
    for path, text in files.items():
        on_machine(machine, "sh", "-c", f'mkdir -p {Path(path).parent} && printf %s "$1" > {path}', "write", text)
    on_machine(machine, "chmod", "755", "/usr/local/bin/kubeadm")
    on_machine(machine, "systemctl", "daemon-reload")
    on_machine(machine, "systemctl", "enable", "--now", "--quiet", "haproxy", "keepalived", "kubelet")
    deadline = time.monotonic() + 20
    while FLOATING not in on_machine(machine, "ip", "address") and time.monotonic() < deadline:
        time.sleep(0.2)  # keepalived listens for others before it takes it
    assert FLOATING in on_machine(machine, "ip", "address")
    node = inputs["inventory"]["all"]["hosts"]["node-1"]
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    yield {
        **inputs,
        "outputs": [],
        "inventory": {
            "control_plane": {"hosts": {"here": here}},
            "worker": {"hosts": {"node-1": node}},
            "load_balancer": {"hosts": {"here": here, "node-1": node}},
        },
    }
    on_machine(machine, "systemctl", "disable", "--now", "--quiet", "haproxy", "keepalived", "kubelet")
    on_machine(machine, "rm", "-rf", *files, "/run/told")


def states(machine: dict[str, Any], *units: str) -> set[str]:
    """Of each unit whether it runs, and whether a boot starts it."""
    question = "systemctl is-active $@; systemctl is-enabled $@; true"
    return set(on_machine(machine, "sh", "-c", question, "states", *units).split())


def settled(site: dict[str, Any]) -> dict[str, Any]:
    return {**site, "results": {}, "summary": "", "completed": True, "drift": []}


def test_a_host_that_left_holds_no_address_and_makes_no_node_any_more(
    machine: dict[str, Any], site: dict[str, Any]
) -> None:
    everybody = site["inventory"]
    here = everybody["control_plane"]
    less = {**site, "inventory": {"control_plane": here, "worker": {"hosts": {}}, "load_balancer": here}}
    assert states(machine, "haproxy", "keepalived", "kubelet") == {"active", "enabled"}
    after = Playbook().update(context(), "site", settled(site), less)
    assert states(machine, "haproxy", "keepalived", "kubelet") == {"inactive", "disabled"}
    assert FLOATING not in on_machine(machine, "ip", "address")
    assert on_machine(machine, "cat", "/run/told").startswith("reset --force ")
    assert on_machine(machine, "find", "/etc/kubernetes", "-type", "f") == ""
    assert Playbook().diff(context(), "site", after, less) == []
    # An earlier run may not have come as far as to install anything.
    on_machine(machine, "rm", "/etc/systemd/system/kubelet.service", "/usr/local/bin/kubeadm")
    on_machine(machine, "systemctl", "daemon-reload")
    assert Playbook().update(context(), "site", settled(site), less)["completed"] is True
    on_machine(machine, "sh", "-c", f"printf '{KUBELET}' > /etc/systemd/system/kubelet.service")


def test_a_worker_that_is_no_load_balancer_any_more_stays_a_worker(
    machine: dict[str, Any], site: dict[str, Any]
) -> None:
    less = {**site, "inventory": {**site["inventory"], "load_balancer": site["inventory"]["control_plane"]}}
    Playbook().update(context(), "site", settled(site), less)
    assert states(machine, "haproxy", "keepalived") == {"inactive", "disabled"}
    assert states(machine, "kubelet") == {"active", "enabled"}
    assert on_machine(machine, "find", "/etc/kubernetes", "-name", "member") != ""


def test_a_load_balancer_that_is_no_worker_any_more_goes_on_with_the_addresses(
    machine: dict[str, Any], site: dict[str, Any]
) -> None:
    less = {**site, "inventory": {**site["inventory"], "worker": {"hosts": {}}}}
    Playbook().update(context(), "site", settled(site), less)
    assert states(machine, "haproxy", "keepalived") == {"active", "enabled"}
    assert "enabled" in states(machine, "kubelet"), "role kubernetes_node would enable it again in the next run"
    assert on_machine(machine, "cat", "/run/told").startswith("reset --force ")
    assert on_machine(machine, "find", "/etc/kubernetes", "-type", "f") == ""


def test_a_load_balancer_that_left_and_does_not_answer_is_asked_once(
    machine: dict[str, Any], site: dict[str, Any]
) -> None:
    gone = host(machine["host_key"], NOBODY)
    before = {**site["inventory"]}
    before["worker"] = {"hosts": {**before["worker"]["hosts"], "node-2": gone}}
    before["load_balancer"] = {"hosts": {**before["load_balancer"]["hosts"], "node-2": gone}}
    log = Spoken()
    after = Playbook().update(context(log), "site", settled({**site, "inventory": before}), site)
    assert (after["completed"], after["leaving"]) == (True, {})
    assert "because unreachable: node-2. Wipe them" in log.text
    assert log.text.count("node-2: unreachable in task") == 1
    assert states(machine, "haproxy", "keepalived", "kubelet") == {"active", "enabled"}
