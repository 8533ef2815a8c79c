"""Which zones the nodes are in, what starts on them first, and who waits for them."""

from __future__ import annotations

import base64
import email
import os
import subprocess
from email.message import Message
from pathlib import Path

import pytest

from infra.cloud.user_data import SYSCTL_FILE, user_data
from infra.environment import Environment
from tests.infra import recording
from tests.infra.cloud.conftest import ENVIRONMENTS, Recorded, register

GROUP = "eks/nodeGroup:NodeGroup"
TEMPLATE = "ec2/launchTemplate:LaunchTemplate"


def resized(**desired: int) -> Environment:
    """The lab with other sizes of its cloud half's groups."""
    lab = recording.hybrid()
    assert lab.cloud
    groups = tuple(
        one.model_copy(update={"desired": desired.get(one.name, one.desired)}) for one in lab.cloud.node_groups
    )
    return lab.model_copy(update={"cloud": lab.cloud.model_copy(update={"node_groups": groups})})


def waited_for(cloud: Recorded, addon: str) -> set[str]:
    """The groups without which an add-on does not begin."""
    groups = {one.name for one in cloud.of(GROUP)}
    return groups & cloud.options["Addon", addon].depends_on


def test_a_group_has_subnets_in_the_zones_that_it_names_or_in_all(cloud: Recorded) -> None:
    settings = cloud.environment.cloud
    assert settings is not None
    for group in settings.node_groups:
        made = cloud.one(GROUP, group.name).inputs
        zones = group.zones or settings.zones
        assert made["subnetIds"] == [f"private-{zone[-1]}-id" for zone in zones], group.name


def test_the_files_have_groups_of_some_zones_and_of_all() -> None:
    groups = [group for one in ENVIRONMENTS if one.cloud for group in one.cloud.node_groups]
    assert {bool(group.zones) for group in groups} == {True, False}


def test_a_group_that_is_replaced_can_stand_beside_the_old_one(cloud: Recorded) -> None:
    """Of a fixed name there cannot be two: the old one's nodes would go first."""
    assert not [one.name for one in cloud.of(GROUP) if "nodeGroupName" in one.inputs]
    settings = cloud.environment.cloud
    assert settings is not None
    labels = {one.name: one.inputs["labels"]["isthmus/node-group"] for one in cloud.of(GROUP)}
    assert labels == {group.name: group.name for group in settings.node_groups}


def test_add_ons_wait_for_the_groups_that_have_nodes_for_them_and_for_no_other(cloud: Recorded) -> None:
    for addon in ("coredns", "aws-ebs-csi-driver", "metrics-server"):
        assert waited_for(cloud, addon) == {"general"}, addon
    assert waited_for(cloud, "eks-pod-identity-agent") == set()


@pytest.mark.parametrize(
    ("desired", "expected"),
    [
        ({"general": 1, "batch": 1}, {"general"}),
        ({"general": 0, "batch": 1}, {"general", "batch"}),
    ],
    ids=["one-with-taints", "none-without-taints"],
)
def test_add_ons_wait_for_groups_that_any_pod_may_go_to_or_else_for_all(
    desired: dict[str, int], expected: set[str]
) -> None:
    assert waited_for(register(resized(**desired)), "coredns") == expected


def script() -> Message:
    """The only part of what a node is started with."""
    message = email.message_from_bytes(base64.b64decode(user_data()))
    assert message.get_content_type() == "multipart/mixed", "EKS joins it with its own"
    parts = message.get_payload()
    assert isinstance(parts, list) and len(parts) == 1
    assert isinstance(parts[0], Message)
    return parts[0]


def test_every_node_starts_with_it(cloud: Recorded) -> None:
    templates = cloud.of(TEMPLATE)
    assert {one.name for one in templates} == {one.name for one in cloud.of(GROUP)}
    assert {one.inputs.get("userData") for one in templates} == {user_data()}


def test_it_is_a_script_small_enough_and_always_the_same() -> None:
    assert script().get_content_type() == "text/x-shellscript"
    assert len(base64.b64decode(user_data())) < 8 * 1024, "of 16 KiB, EKS' own part included"
    assert user_data() == user_data(), "else each run would replace all nodes"


def test_the_kernel_takes_what_pods_answer_their_own_node(tmp_path: Path) -> None:
    """The script is run, with another place for the file and a systemctl that writes down what it is asked."""
    text = script().get_payload(decode=True)
    assert isinstance(text, bytes)
    file = tmp_path / "cilium.conf"
    path = tmp_path / "bin"
    path.mkdir()
    (path / "systemctl").write_text(f'#!/bin/sh\ntest -s {file} && echo "$@" >{tmp_path}/asked\n')
    (path / "systemctl").chmod(0o755)
    run = text.decode().replace(SYSCTL_FILE, str(file))
    assert run.startswith("#!/bin/sh\n")
    subprocess.run(["sh"], input=run, text=True, check=True, env={"PATH": f"{path}:{os.environ['PATH']}"})
    said = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert said == [
        "-net.ipv4.conf.lxc*.rp_filter = 0",
        "-net.ipv4.conf.cilium_*.rp_filter = 0",
        "net.ipv4.conf.all.rp_filter = 0",
    ]
    assert (tmp_path / "asked").read_text() == "restart systemd-sysctl.service\n", "once the file is there"
