"""The tunnels between two sites: what the role writes on a gateway, with the kernel's ESP and with strongSwan's own."""

from __future__ import annotations

import base64
import re
import subprocess
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.ansible.conftest import ANSIBLE, Render, role_yaml

KEYS = {"t1": "A.simple_Secret1", "t2": 'a # "strange\\" secret'}
SITE: dict[str, Any] = {
    "site_link_local_ranges": ["10.61.0.0/24", "10.63.0.0/24"],
    "site_link_remote_ranges": ["10.71.0.0/24", "10.72.0.0/24"],
    "site_link_next_hop": "10.61.0.100",
    "site_link_source_address": "10.61.0.11",
    "site_link_floating_address": "10.61.0.100",
    "site_link_preshared_keys": KEYS,
    "site_link_tunnels": [
        {
            "name": "t1",
            "local_address": "10.61.0.100",
            "local_id": "198.51.100.20",
            "remote_address": "203.0.113.11",
            "inside_address": "169.254.10.2/30",
            "peer_inside_address": "169.254.10.1",
        },
        {
            "name": "t2",
            "local_address": "10.61.0.100",
            "local_id": "198.51.100.20",
            "remote_address": "203.0.113.12",
            "inside_address": "169.254.10.6/30",
            "peer_inside_address": "169.254.10.5",
        },
    ],
}
CLOUD: dict[str, Any] = {
    "site_link_local_ranges": SITE["site_link_remote_ranges"],
    "site_link_remote_ranges": SITE["site_link_local_ranges"],
    "site_link_source_address": "10.71.0.11",
    "site_link_initiate": False,
    "site_link_preshared_keys": KEYS,
    "site_link_tunnels": [
        {"name": "t1", "local_address": "203.0.113.11", "remote_id": "198.51.100.20"},
        {"name": "t2", "local_address": "203.0.113.12", "remote_id": "198.51.100.20"},
    ],
}
ESP = pytest.mark.parametrize("esp", ["kernel", "user"])


def _settings(text: str) -> dict[str, Any]:
    """strongSwan's format: sections in braces, one `key = value` a line, comments."""
    stack: list[dict[str, Any]] = [{}]
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#")[0].strip()
        if not line:
            continue
        if section := re.fullmatch(r"([\w-]+) \{", line):
            assert section[1] not in stack[-1], f"line {number}: {section[1]} twice"
            stack[-1][section[1]] = {}
            stack.append(stack[-1][section[1]])
        elif line == "}":
            stack.pop()
            assert stack, f"line {number}: one brace too many"
        else:
            key, equals, value = line.partition(" = ")
            assert equals, f"line {number}: {line}"
            assert key not in stack[-1], f"line {number}: {key} twice"
            stack[-1][key] = value
    assert len(stack) == 1, "a brace is missing"
    return stack[0]


def _connections(render: Render, **variables: Any) -> dict[str, Any]:
    connections: dict[str, Any] = _settings(render("site_link", "swanctl.conf.j2", **variables))["connections"]
    return connections


@ESP
def test_tunnels_are_encrypted_as_the_cloud_is_told_to(render: Render, esp: str) -> None:
    connections = _connections(render, **SITE, site_link_esp=esp)

    assert list(connections) == ["t1", "t2"]
    for name, connection in connections.items():
        assert connection["version"] == "2"
        assert connection["proposals"] == "aes256gcm16-prfsha384-ecp384", "infra/cloud/link.py names the same"
        assert connection["children"][name]["esp_proposals"] == "aes256gcm16-ecp384"
        assert connection["encap"] == "yes", "strongSwan's own ESP needs it, and one path shares one fate"
        assert connection["keyingtries"] == "0", "a tunnel that gives up stays down"


@ESP
def test_one_end_begins_and_begins_again_and_the_other_waits(render: Render, esp: str) -> None:
    for values, expected in ((SITE, ("start", "restart", "start")), (CLOUD, ("none", "clear", "none"))):
        for name, connection in _connections(render, **values, site_link_esp=esp).items():
            child = connection["children"][name]
            assert (child["start_action"], child["dpd_action"], child["close_action"]) == expected


def test_the_ends_know_each_other_through_nat(render: Render) -> None:
    site, cloud = (
        _connections(render, **SITE, site_link_esp="user"),
        _connections(render, **CLOUD, site_link_esp="user"),
    )
    for name in ("t1", "t2"):
        assert site[name]["local"]["id"] == cloud[name]["remote"]["id"] == "198.51.100.20"
        assert site[name]["remote"]["id"] == cloud[name]["local"]["id"] == site[name]["remote_addrs"]
        assert cloud[name]["remote_addrs"] == "%any"


@ESP
def test_both_ends_have_the_same_secret_whatever_its_characters(render: Render, esp: str) -> None:
    for values in (SITE, CLOUD):
        secrets = _settings(render("site_link", "swanctl-secrets.conf.j2", **values, site_link_esp=esp))["secrets"]
        for tunnel, key in KEYS.items():
            secret = secrets[f"ike-{tunnel}"]["secret"]
            assert base64.b64decode(secret.removeprefix("0s")).decode() == key
            assert {secrets[f"ike-{tunnel}"][owner] for owner in ("id-1", "id-2")} >= {"198.51.100.20"}


def test_no_secret_is_where_everybody_may_read(render: Render) -> None:
    for template in sorted((ANSIBLE / "roles" / "site_link" / "templates").iterdir()):
        if template.name != "swanctl-secrets.conf.j2":
            for esp in ("kernel", "user"):
                text = render("site_link", template.name, **SITE, site_link_esp=esp)
                assert "secret" not in text.lower(), template.name

    tasks = yaml.safe_load((ANSIBLE / "roles" / "site_link" / "tasks" / "gateway.yml").read_text())
    (secret,) = [task for task in tasks if "swanctl-secrets" in str(task)]
    assert secret["no_log"] is True
    assert secret["isthmus.host.files"]["files"][0]["mode"] == "0600"
    options = role_yaml("site_link", "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert options["site_link_preshared_keys"]["no_log"] is True


def test_in_the_kernel_each_tunnel_has_an_interface_of_its_own(render: Render) -> None:
    children = [c["children"][name] for name, c in _connections(render, **SITE, site_link_esp="kernel").items()]

    assert [child["if_id_out"] for child in children] == [child["if_id_in"] for child in children] == ["1", "2"]
    script = render("site_link", "isthmus-site-link.sh.j2", **SITE, site_link_esp="kernel")
    for number, inside in ((1, "169.254.10.2/30"), (2, "169.254.10.6/30")):
        assert f"ip link add ipsec{number} type xfrm if_id {number}\n" in script
        assert f"ip address add {inside} dev ipsec{number}\n" in script
        assert f"ip link delete ipsec{number} " in script


@ESP
def test_the_tunnels_take_whatever_is_routed_into_them(render: Render, esp: str) -> None:
    for name, connection in _connections(render, **SITE, site_link_esp=esp).items():
        child = connection["children"][name]
        # as the cloud's end has it; strongSwan's own ESP also fails where this host has no address in a narrower range
        assert child["local_ts"] == child["remote_ts"] == "0.0.0.0/0"
        assert ("updown" in child) is (esp == "kernel"), "one device, whichever tunnel is up"


def test_strongswans_own_esp_is_loaded_only_where_it_is_asked_for(render: Render) -> None:
    for esp, load in (("kernel", "no"), ("user", "yes")):
        charon = _settings(render("site_link", "strongswan.conf.j2", **SITE, site_link_esp=esp))["charon"]
        assert charon["plugins"]["kernel-libipsec"]["load"] == load
        assert charon["install_routes"] == "no"
        # a default route of strongSwan's that counted would take every packet of the host
        assert ("fwmark" in charon["plugins"]["kernel-netlink"]) is (esp == "user")


@pytest.mark.parametrize(("answer", "esp"), [(["tun", "esp"], "kernel"), (["tun", "held"], "user")])
def test_the_kernel_is_asked_what_it_can(render: Render, answer: list[str], esp: str) -> None:
    text = render("site_link", "strongswan.conf.j2", **SITE, __site_link_host={"stdout_lines": answer})
    assert (_settings(text)["charon"]["plugins"]["kernel-libipsec"]["load"] == "yes") is (esp == "user")


def test_a_dead_end_is_noticed_within_seconds_but_not_at_the_first_lost_packet(render: Render) -> None:
    charon = _settings(render("site_link", "strongswan.conf.j2", **SITE, site_link_esp="user"))["charon"]
    first, base, tries = (float(charon[f"retransmit_{name}"]) for name in ("timeout", "base", "tries"))
    delay = int(_connections(render, **SITE, site_link_esp="user")["t1"]["dpd_delay"].removesuffix("s"))

    assert tries >= 3, "a host under load answers late"
    assert delay + sum(first * base**number for number in range(int(tries) + 1)) < 6


@ESP
def test_the_script_is_valid_shell_and_keeps_the_tunnels_out_of_themselves(
    render: Render, esp: str, tmp_path: Path
) -> None:
    for values in (SITE, CLOUD):
        text = render("site_link", "isthmus-site-link.sh.j2", **values, site_link_esp=esp)
        script = tmp_path / "script"
        script.write_text(text)
        assert subprocess.run(["/bin/sh", "-n", str(script)], check=False).returncode == 0
        rules = re.findall(r"ip rule add (.*) lookup main preference", text)
        # to the other end's address anything else goes through a tunnel, where the kernel lets us tell the two apart
        assert rules == ["iif lo ipproto udp sport $port", *(['to "$peer"'] if esp == "kernel" else [])]
    peers = "peers='203.0.113.11 203.0.113.12'"
    assert (peers in render("site_link", "isthmus-site-link.sh.j2", **SITE, site_link_esp=esp)) is (esp == "kernel")


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ("", ["t1", "t2"]),
        ("t1: #3, CONNECTING, IKEv2, 1a_i* 0000_r\n", ["t2"]),
        ("t1: #3, ESTABLISHED, IKEv2, 1a_i* 2b_r\n  t1: #1, reqid 1, INSTALLED, TUNNEL-in-UDP\n", ["t2"]),
        ("t1: #3, ESTABLISHED, IKEv2, 1a_i* 2b_r\nt2: #4, ESTABLISHED, IKEv2, 3c_i* 4d_r\n", ["t1", "t2"]),
    ],
    ids=["refused", "connecting", "up", "without a child"],
)
def test_a_tunnel_that_was_refused_is_asked_for_again(
    render: Render, tmp_path: Path, there: str, asked: list[str]
) -> None:
    text = render("site_link", "isthmus-site-link.sh.j2", **SITE, site_link_esp="user")
    (programs := tmp_path / "bin").mkdir()
    list_sas = f"printf '%s' '{there}'"
    fakes = {
        "swanctl": f"if [ $1 = --list-sas ]; then {list_sas}; else echo $3 >>{tmp_path}/asked; exit 22; fi",
        "sleep": f"[ ! -e {tmp_path}/slept ] && touch {tmp_path}/slept",  # the second one ends the loop
    }
    for name, does in fakes.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    script = text.replace("PATH=", f"PATH={programs}:", 1)
    subprocess.run(["sh", "-c", script, "isthmus-site-link", "keep"], check=False, timeout=10)
    found = tmp_path / "asked"
    assert (found.read_text().split() if found.exists() else []) == asked


def test_only_the_end_that_begins_asks_again(render: Render) -> None:
    wants = "Wants=isthmus-site-link-keep.service"
    assert wants in render("site_link", "strongswan.service.j2", **SITE)
    assert wants not in render("site_link", "strongswan.service.j2", **CLOUD)


@ESP
def test_only_the_two_sites_packets_leave_a_tunnel_and_tcp_learns_what_fits(render: Render, esp: str) -> None:
    text = render("site_link", "site-link.nft.j2", **SITE, site_link_esp=esp)
    devices = '{ "ipsec0" }' if esp == "user" else '{ "ipsec1", "ipsec2" }'

    here, there = re.findall(r"elements = \{ (.*) \}", text)
    assert here == "10.61.0.0/24, 10.63.0.0/24, 169.254.10.2, 169.254.10.6"
    assert there == "10.71.0.0/24, 10.72.0.0/24, 169.254.10.1, 169.254.10.5"
    assert f"iifname {devices} ip saddr @there ip daddr @here accept\n    iifname {devices} drop" in text
    for direction in ("iifname", "oifname"):
        assert (
            f"{direction} {devices} tcp flags syn tcp option maxseg size > 1360 tcp option maxseg size set 1360" in text
        )


@ESP
def test_what_is_not_of_the_site_leaves_with_the_hosts_own_address(render: Render, esp: str) -> None:
    devices = '{ "ipsec0" }' if esp == "user" else '{ "ipsec1", "ipsec2" }'
    text = render(
        "site_link", "site-link.nft.j2", **{**SITE, "site_link_source_address": "10.61.0.11"}, site_link_esp=esp
    )
    assert f"oifname {devices} ip saddr != @here snat ip to 10.61.0.11" in text
    assert "snat" not in render(
        "site_link", "site-link.nft.j2", **{**SITE, "site_link_source_address": ""}, site_link_esp=esp
    )


def test_every_host_reaches_the_other_side_through_the_floating_address_or_not_at_all(render: Render) -> None:
    text = render("site_link", "isthmus-site-link-routes.service.j2", **SITE, site_link_interface="ens1")
    starts = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)

    for range_ in SITE["site_link_remote_ranges"]:
        to_gateway = [line for line in starts if f"replace {range_} via 10.61.0.100 dev ens1 " in line]
        nowhere = [line for line in starts if f"replace unreachable {range_} " in line]
        metrics = [int(re.findall(r"metric (\d+)", line)[0]) for line in (*to_gateway, *nowhere)]
        assert len(metrics) == 2
        assert metrics[0] < metrics[1], "the way of last resort comes last"
    (rule,) = [line for line in starts if " rule add from all lookup 5160 preference 5161" in line]
    assert max(starts.index(line) for line in starts if "unreachable" in line) < starts.index(rule), (
        "never a moment in the clear"
    )

    alone = render("site_link", "isthmus-site-link-routes.service.j2", **CLOUD)
    assert " via " not in alone, "a gateway with an address of its own is its own way"


def test_the_tunnels_follow_the_floating_address_only_where_one_is(render: Render) -> None:
    tasks = yaml.safe_load((ANSIBLE / "roles" / "site_link" / "tasks" / "gateway.yml").read_text())
    (files,) = [task["isthmus.host.files"]["files"] for task in tasks if "__site_link_hooks" in str(task)]
    (hook,) = role_yaml("site_link", "vars/main.yml")["__site_link_hooks"]
    assert hook["dest"].startswith(role_yaml("load_balancer", "vars/main.yml")["__load_balancer_hooks"] + "/")
    for address, written in (("10.0.0.10", ["script", "hook"]), ("", ["script"])):
        known = {
            "__site_link_files": ["script"],
            "__site_link_hooks": ["hook"],
            "site_link_floating_address": address,
        }
        assert Templar(loader=DataLoader(), variables=known).template(trust_as_template(files)) == written
    assert "moved() {" in render("site_link", "isthmus-site-link.sh.j2", **SITE, site_link_esp="user")
    assert "BindsTo=keepalived.service" in render("site_link", "strongswan.service.j2", **SITE, site_link_esp="user")
    assert "keepalived" not in render("site_link", "strongswan.service.j2", **CLOUD, site_link_esp="user")


def test_the_largest_packet_fits_an_ordinary_network() -> None:
    mtu = int(role_yaml("site_link", "defaults/main.yml")["site_link_mtu"])
    # AES-GCM in UDP: IP, UDP, ESP header, IV, padding to 4, its two bytes, tag
    outside = 20 + 8 + 8 + 8 + (mtu + 2 + 3) // 4 * 4 + 16
    assert outside <= 1492, "with PPPoE"


def test_the_examples_here_do_not_overlap() -> None:
    ranges = [IPv4Network(value) for value in SITE["site_link_local_ranges"] + SITE["site_link_remote_ranges"]]
    assert not any(one.overlaps(other) for one in ranges for other in ranges if one != other)
    assert not any(
        IPv4Address(tunnel["remote_address"]) in range_ for tunnel in SITE["site_link_tunnels"] for range_ in ranges
    )
