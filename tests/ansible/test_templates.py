"""What the templates render to, read back by a parser of its format."""

from __future__ import annotations

import re
import subprocess
import tempfile
import tomllib
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from infra.naming import CONTAINERD_METRICS_PORT, ETCD_METRICS_PORT, GPU_METRICS_PORT
from infra.platform.monitoring.host_jobs import Hosts
from infra.platform.monitoring.names import KUBELET_PORT
from tests.ansible.conftest import ANSIBLE, HOSTS, Render, role_yaml

CONTROL_PLANE: dict[str, Any] = {
    "kubeadm_control_plane_hosts": HOSTS,
    "kubeadm_control_plane_cluster_name": "onprem",
    "kubeadm_control_plane_api_address": "10.0.0.100",
    "__kubeadm_control_plane_state": {"stdout_lines": []},
}


def _documents(text: str) -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def _flags(component: dict[str, Any]) -> dict[str, str]:
    return {argument["name"]: argument["value"] for argument in component["extraArgs"]}


def test_containerd_reads_mirrors_and_follows_what_the_host_can(render: Render) -> None:
    text = render("containerd", "config.toml.j2", containerd_restrict_oom_score_adj=True, containerd_apparmor=False)
    plugins = tomllib.loads(text)["plugins"]

    assert plugins["io.containerd.cri.v1.images"]["registry"]["config_path"] == "/etc/containerd/certs.d"
    runtime = plugins["io.containerd.cri.v1.runtime"]
    assert (runtime["restrict_oom_score_adj"], runtime["disable_apparmor"]) == (True, True)
    assert runtime["cni"]["bin_dirs"] == ["/opt/cni/bin", "/usr/lib/cni"]


def test_a_registry_more_does_not_restart_containerd() -> None:
    (task,) = role_yaml("containerd", "tasks/main.yml")
    (unit,) = task["isthmus.host.files"]["units"]
    assert "registries" in task["isthmus.host.files"]["files"] and "registries" not in unit["files"]


def test_a_registry_is_looked_for_in_the_mirror_under_its_own_name(render: Render) -> None:
    text = render("containerd", "hosts.toml.j2", containerd_mirror_url="http://10.0.0.2:5000", registry="quay.io")
    hosts = tomllib.loads(text)["host"]

    assert list(hosts) == ["http://10.0.0.2:5000/v2/quay.io"]
    assert hosts["http://10.0.0.2:5000/v2/quay.io"]["override_path"] is True


def test_the_control_plane_is_encrypted_audited_and_reachable_under_every_address(render: Render) -> None:
    documents = _documents(render("kubeadm_control_plane", "init.yaml.j2", **CONTROL_PLANE))
    cluster = documents["ClusterConfiguration"]

    assert cluster["controlPlaneEndpoint"] == "10.0.0.100:8443"
    assert {"10.0.0.100", "127.0.0.1", *HOSTS, *HOSTS.values()} <= set(cluster["apiServer"]["certSANs"])
    flags = _flags(cluster["apiServer"])
    mounted = [volume["hostPath"] for volume in cluster["apiServer"]["extraVolumes"]]
    for flag in ("encryption-provider-config", "audit-policy-file", "audit-log-path"):
        assert any(flags[flag].startswith(folder + "/") for folder in mounted), f"{flag} is not mounted"
    assert documents["InitConfiguration"]["nodeRegistration"]["taints"] == []
    assert documents["InitConfiguration"]["nodeRegistration"]["ignorePreflightErrors"] == []


def test_kernel_settings_beyond_a_network_namespace_are_for_a_kernel_of_the_hosts_own(render: Render) -> None:
    def lines(*, own: bool) -> set[str]:
        text = render("node_prerequisites", "sysctl.conf.j2", node_prerequisites_own_kernel=own)
        return {line for line in text.splitlines() if line and not line.startswith("#")}

    assert lines(own=True) - lines(own=False) == {"fs.inotify.max_user_instances = 8192"}
    assert all(line.lstrip("-").startswith("net.") for line in lines(own=False))


def test_no_return_path_is_looked_for_where_pods_come_from() -> None:
    settings = role_yaml("node_prerequisites", "defaults/main.yml")["node_prerequisites_sysctls"]
    for device in ("lxc*", "cilium_*"):
        assert settings[f"-net.ipv4.conf.{device}.rp_filter"] == 0


def test_leaders_renew_in_time(render: Render) -> None:
    cluster = _documents(render("kubeadm_control_plane", "init.yaml.j2", **CONTROL_PLANE))["ClusterConfiguration"]
    for component in ("controllerManager", "scheduler"):
        flags = _flags(cluster[component])
        lease, deadline, retry = (
            int(flags[f"leader-elect-{name}"].removesuffix("s"))
            for name in ("lease-duration", "renew-deadline", "retry-period")
        )
        assert lease > deadline > 1.2 * retry, "the components refuse any other order"


def test_etcd_misses_several_heartbeats_before_it_elects(render: Render) -> None:
    cluster = _documents(render("kubeadm_control_plane", "init.yaml.j2", **CONTROL_PLANE))["ClusterConfiguration"]
    flags = _flags(cluster["etcd"]["local"])
    assert int(flags["election-timeout"]) >= 5 * int(flags["heartbeat-interval"])


def test_an_init_that_was_cut_off_continues_with_what_is_there(render: Render) -> None:
    state = {"stdout_lines": ["started", "data"]}
    text = render("kubeadm_control_plane", "init.yaml.j2", **CONTROL_PLANE | {"__kubeadm_control_plane_state": state})
    ignored = _documents(text)["InitConfiguration"]["nodeRegistration"]["ignorePreflightErrors"]
    assert "DirAvailable--var-lib-etcd" in ignored
    assert "all" not in ignored


def test_a_new_disk_of_etcds_own_is_taken_for_the_empty_folder_that_it_is(render: Render) -> None:
    state = {"stdout_lines": ["empty-disk"]}
    text = render("kubeadm_control_plane", "init.yaml.j2", **CONTROL_PLANE | {"__kubeadm_control_plane_state": state})
    ignored = _documents(text)["InitConfiguration"]["nodeRegistration"]["ignorePreflightErrors"]
    assert ignored == ["DirAvailable--var-lib-etcd"]


def test_the_kubelet_accepts_old_cgroups_only_where_they_are(render: Render) -> None:
    for fail, expected in ((True, None), (False, False)):
        values = CONTROL_PLANE | {"kubeadm_control_plane_fail_cgroup_v1": fail}
        kubelet = _documents(render("kubeadm_control_plane", "init.yaml.j2", **values))["KubeletConfiguration"]
        assert kubelet.get("failCgroupV1") is expected


def test_taints_are_registered_as_kubernetes_writes_them(render: Render) -> None:
    values = CONTROL_PLANE | {"kubeadm_control_plane_taints": ["gpu=true:NoSchedule"]}
    registration = _documents(render("kubeadm_control_plane", "init.yaml.j2", **values))["InitConfiguration"][
        "nodeRegistration"
    ]
    assert registration["taints"] == [{"key": "gpu", "value": "true", "effect": "NoSchedule"}]


def test_secrets_are_written_with_a_key_of_32_bytes_and_old_ones_stay_readable(render: Render) -> None:
    text = render("kubeadm_control_plane", "encryption.yaml.j2", __kubeadm_control_plane_key="k" * 32)
    first, second = yaml.safe_load(text)["resources"][0]["providers"]
    assert len(first["secretbox"]["keys"][0]["secret"]) == 44
    assert second == {"identity": {}}


def test_the_audit_policy_never_logs_bodies(render: Render) -> None:
    policy = yaml.safe_load(render("kubeadm_control_plane", "audit-policy.yaml.j2"))
    assert {rule["level"] for rule in policy["rules"]} == {"None", "Metadata"}
    assert policy["rules"][-1] == {"level": "Metadata"}, "what no rule names must be logged"


@pytest.mark.parametrize("component", ["kube-apiserver", "kube-scheduler", "etcd"])
def test_patches_name_the_container_that_they_patch(render: Render, component: str) -> None:
    patch = yaml.safe_load(render("kubeadm_control_plane", "static_pod.yaml.j2", component=component))
    (container,) = patch["spec"]["containers"]
    assert (container["name"], container["readinessProbe"]) == (component, {"periodSeconds": 5})
    asked = container.get("resources", {}).get("requests", {})
    assert asked == ({"cpu": "500m"} if component == "etcd" else {}), "the others keep what kubeadm asks for"


def test_workers_and_control_planes_join_with_what_the_ticket_says(render: Render) -> None:
    worker = yaml.safe_load(
        render("kubeadm_worker", "join.yaml.j2", __kubeadm_worker_token="a.b", __kubeadm_worker_ca_hash="sha256:c")
    )
    assert worker["discovery"]["bootstrapToken"]["token"] == "a.b"
    assert "controlPlane" not in worker
    member = yaml.safe_load(
        render(
            "kubeadm_control_plane",
            "join.yaml.j2",
            host="two",
            **CONTROL_PLANE,
            __kubeadm_control_plane_token="a.b",
            __kubeadm_control_plane_ca_hash="sha256:c",
            __kubeadm_control_plane_certificate_key="d",
        )
    )
    assert member["controlPlane"]["localAPIEndpoint"]["advertiseAddress"] == HOSTS["two"]
    assert member["controlPlane"]["certificateKey"] == "d"


def test_the_renewal_script_is_valid_shell(render: Render, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(render("certificate_renewal", "isthmus-renew-certificates.sh.j2"))
    assert subprocess.run(["/bin/bash", "-n", str(script)], check=False).returncode == 0


@pytest.mark.parametrize("script", ["isthmus-backup-etcd", "isthmus-restore-etcd"])
def test_the_scripts_for_etcds_backup_are_valid_shell(render: Render, tmp_path: Path, script: str) -> None:
    path = tmp_path / script
    path.write_text(render("etcd_backup", f"{script}.sh.j2"))
    assert subprocess.run(["/bin/bash", "-n", str(path)], check=False).returncode == 0


def test_no_two_control_planes_back_up_at_once(render: Render) -> None:
    """As site.yml sets them apart, at their hours and after all of them were set up or booted together."""
    plays = yaml.safe_load((ANSIBLE / "site.yml").read_text())
    (role,) = [one for play in plays for one in play.get("roles", []) if one["role"] == "etcd_backup"]
    timers = []
    for host in HOSTS:
        known = {"inventory_hostname": host, "groups": {"control_plane": list(HOSTS)}}
        templar = Templar(loader=DataLoader(), variables=known)
        names = ("etcd_backup_calendar", "etcd_backup_first_s")
        values = {name: templar.template(trust_as_template(role[name])) for name in names}
        timers.append(render("etcd_backup", "isthmus-backup-etcd.timer.j2", **values))
    hours = [re.search(r"^OnCalendar=\*-\*-\* (\d\d)/6:30:00$", timer, re.MULTILINE)[1] for timer in timers]
    assert hours == ["00", "01", "02"]
    firsts = [int(re.search(r"^OnActiveSec=(\d+)s$", timer, re.MULTILINE)[1]) for timer in timers]
    assert firsts == [900, 1020, 1140]


def test_a_backup_counts_on_the_marker_of_a_member(render: Render) -> None:
    marker = role_yaml("kubeadm_control_plane", "vars/main.yml")["__kubeadm_control_plane_marker"]
    assert f"\nConditionPathExists={marker}\n" in render("etcd_backup", "isthmus-backup-etcd.service.j2")
    key = f"{role_yaml('kubeadm_control_plane', 'vars/main.yml')['__kubeadm_control_plane_folder']}/encryption.yaml"
    script = render("etcd_backup", "isthmus-backup-etcd.sh.j2")
    assert key == "/etc/kubernetes/isthmus/encryption.yaml"
    assert "kubernetes=/etc/kubernetes\n" in script and " isthmus/encryption.yaml " in script


FIREWALL: dict[str, Any] = {
    "host_firewall_admin_cidrs": ["10.9.0.0/24", "10.9.0.0/16"],
    "host_firewall_hosts": HOSTS,
    "host_firewall_control_planes": {"one": HOSTS["one"]},
    "host_firewall_load_balancers": {"two": HOSTS["two"]},
    "host_firewall_pod_cidr": "10.244.0.0/16",
    "host_firewall_served": [{"address": "10.0.0.100", "port": 8443}, {"address": "10.0.0.101", "port": 80}],
}


def _ruleset(text: str) -> str:
    """What nftables makes of a file, in a network of its own."""
    script = 'nft --file "$1" && nft --file "$1" && nft --stateless list ruleset'
    with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
        file.write(text)
        file.flush()
        command = ["unshare", "--net", "sh", "-ec", script, "-", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.machine
def test_the_host_firewall_lets_in_what_the_cluster_needs_and_nothing_else(render: Render) -> None:
    rules = _ruleset(render("host_firewall", "firewall.nft.j2", **FIREWALL))
    hosts = ", ".join(HOSTS.values())
    assert "type filter hook input priority filter; policy drop;" in rules
    assert "elements = { 10.9.0.0/16 }" in rules, "ranges within others are one"
    accepted = [line.strip() for line in rules.splitlines() if "accept" in line or "jump" in line]
    assert accepted == [
        "ct state established,related accept",
        'iif "lo" accept',
        "meta l4proto { icmp, ipv6-icmp } accept",
        'udp dport 546 ip6 saddr fe80::/10 accept comment "DHCPv6"',
        "ip daddr 10.0.0.100 tcp dport 8443 accept",
        "ip daddr 10.0.0.101 tcp dport 80 accept",
        "ip saddr @admins tcp dport { 22, 6443 } accept",
        f"ip saddr {{ {hosts} }} jump hosts",
        "ip saddr 10.0.0.11 tcp dport { 2379, 2380 } accept",
        'ip saddr 10.0.0.12 meta l4proto vrrp accept comment "VRRP"',
        "ip saddr 10.244.0.0/16 jump members",
        "udp dport 8472 accept",
        "jump members",
        "tcp dport { 1338, 2381, 6443, 8405, 9100, 9400, 9962, 9965, 10250 } accept",
    ]


@pytest.mark.machine
def test_the_host_firewall_of_a_linked_site_lets_tunnels_in_and_one_without_a_cluster_is_valid(render: Render) -> None:
    linked = _ruleset(render("host_firewall", "firewall.nft.j2", **FIREWALL, host_firewall_linked=True))
    assert "udp dport { 500, 4500 } accept" in linked
    assert "meta l4proto esp accept" in linked
    assert "ip saddr @admins tcp dport { 22, 6443 } accept" in _ruleset(render("host_firewall", "firewall.nft.j2"))


@pytest.mark.machine
def test_of_the_other_site_the_host_firewall_lets_in_what_is_for_pods_and_nothing_else(render: Render) -> None:
    alone = _ruleset(render("host_firewall", "firewall.nft.j2", **FIREWALL)).splitlines()
    joined = _ruleset(render("host_firewall", "firewall.nft.j2", **FIREWALL, host_firewall_peer_cidr="10.80.0.0/20"))
    more = [line.strip() for line in joined.splitlines() if line not in alone]
    assert more == ["ip saddr 10.80.0.0/20 udp dport 8472 accept"]


def test_the_host_firewall_knows_the_ports_where_hosts_tell_of_themselves() -> None:
    ports = role_yaml("host_firewall", "vars/main.yml")["__host_firewall_metrics_ports"]
    every = Hosts(load_balancers={"one": IPv4Address("10.0.0.11")}, gpu_hosts={"one": IPv4Address("10.0.0.11")})
    assert {*ports, KUBELET_PORT} == {*every.ports}


def test_services_of_hosts_tell_of_themselves_where_prometheus_asks(render: Render) -> None:
    assert role_yaml("containerd", "defaults/main.yml")["containerd_metrics_port"] == CONTAINERD_METRICS_PORT
    assert role_yaml("nvidia", "defaults/main.yml")["nvidia_exporter_port"] == GPU_METRICS_PORT
    config = render("kubeadm_control_plane", "init.yaml.j2", host="one", **CONTROL_PLANE)
    assert f"value: http://0.0.0.0:{ETCD_METRICS_PORT}\n" in config
