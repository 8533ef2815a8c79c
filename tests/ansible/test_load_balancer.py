"""What load balancers are told: haproxy of API servers and pods, keepalived of the two addresses."""

from __future__ import annotations

import re
from typing import Any

from infra.naming import LOAD_BALANCER_METRICS_PORT
from infra.providers.isthmus.hostprep import MACHINE_REALTIME_US
from tests.ansible.conftest import HOSTS, Render, role_yaml

LOAD_BALANCER: dict[str, Any] = {
    "load_balancer_api_address": "10.0.0.100",
    "load_balancer_api_servers": HOSTS,
    "load_balancer_ingress_address": "10.0.0.101",
    "load_balancer_ingress_servers": HOSTS,
    "load_balancer_ingress_pods": "pods.workloads.svc.cluster.local:8080",
    "load_balancer_dns_address": "10.96.0.10",
    "load_balancer_ingress_check_path": "/v2/health/ready",
    "load_balancer_holders": HOSTS,
}


def test_haproxy_offers_each_server_on_both_addresses(render: Render) -> None:
    text = render("load_balancer", "haproxy.cfg.j2", **LOAD_BALANCER)

    for name, address in HOSTS.items():
        assert re.search(rf"server {name} {address}:6443 check check-ssl", text)
        assert re.search(rf"server {name} {address}:30080 check", text)
    assert "bind 10.0.0.101:80" in text


def test_an_api_server_that_comes_up_is_found_within_seconds_but_one_that_runs_is_asked_seldom(render: Render) -> None:
    text = render("load_balancer", "haproxy.cfg.j2", **LOAD_BALANCER)
    api, ingress = (text.split(f"\nbackend {name}\n")[1].split("\n\n")[0] for name in ("api_servers", "ingress_hosts"))
    assert re.findall(r"(downinter|inter|fastinter) (\w+)", api) == [("downinter", "1s")], "the rest is the defaults'"
    assert "downinter" not in ingress
    assert "default-server inter 3000ms fastinter 750ms downinter 6000ms" in text


def test_api_servers_that_all_fail_their_checks_are_asked_all_the_same(render: Render) -> None:
    text = render("load_balancer", "haproxy.cfg.j2", **LOAD_BALANCER)
    unchecked = text.split("\nbackend api_servers_unchecked\n")[1].split("\n\n")[0]
    assert "use_backend api_servers_unchecked if { nbsrv(api_servers) eq 0 }" in text
    assert [line.split()[1:] for line in unchecked.splitlines() if line.startswith("  server ")] == [
        [name, f"{address}:6443"] for name, address in HOSTS.items()
    ]


def test_haproxy_tells_of_itself_at_its_hosts_own_address_and_shows_nothing_else_there(render: Render) -> None:
    text = render("load_balancer", "haproxy.cfg.j2", host="two", **LOAD_BALANCER)
    frontend = text.split("\nfrontend metrics\n")[1].split("\n\n")[0]
    assert f"bind {HOSTS['two']}:{LOAD_BALANCER_METRICS_PORT}\n" in frontend
    assert "use-service prometheus-exporter if { path /metrics }\n  http-request return status 404" in frontend


def test_haproxy_knows_pods_one_by_one_and_hosts_only_behind_them(render: Render) -> None:
    text = render("load_balancer", "haproxy.cfg.j2", **LOAD_BALANCER)
    pods, hosts = (text.split(f"\nbackend ingress_{what}\n")[1].split("\n\n")[0] for what in ("pods", "hosts"))
    assert "server-template pod 32 pods.workloads.svc.cluster.local:8080 check resolvers cluster" in pods
    assert hosts.count(":30080 check") == len(HOSTS)
    assert "use_backend ingress_hosts if { nbsrv(ingress_pods) eq 0 }" in text
    assert "{ path /ingress } { nbsrv(ingress_pods) ge 1 }" in text, (
        "a host that knows no pod must not take the address"
    )


def test_who_has_the_fewest_unanswered_requests_is_asked_next(render: Render) -> None:
    text = render("load_balancer", "haproxy.cfg.j2", **LOAD_BALANCER)
    for what in ("pods", "hosts"):
        backend = text.split(f"\nbackend ingress_{what}\n")[1].split("\n\n")[0]
        assert re.findall(r"^  balance (\w+)$", backend, re.MULTILINE) == ["leastconn"]


def test_haproxy_goes_before_other_services_of_a_host_that_has_too_much_to_do(render: Render) -> None:
    unit = render("load_balancer", "haproxy.service.j2", **LOAD_BALANCER)
    (weight,) = re.findall(r"^CPUWeight=(\d+)$", unit.split("[Service]\n")[1], re.MULTILINE)
    assert int(weight) == 1000, "ten times what systemd gives the others"


def test_haproxy_asks_the_clusters_dns_through_itself_which_waits_between_tries(render: Render) -> None:
    text = render("load_balancer", "haproxy.cfg.j2", **LOAD_BALANCER)
    own = f"127.0.0.1:{role_yaml('load_balancer', 'defaults/main.yml')['load_balancer_dns_port']}"
    parts = {name: text.split(f"\n{name}\n")[1].split("\n\n")[0] for name in ("resolvers cluster", "frontend dns")}
    assert f"nameserver dns tcp@{own}\n" in parts["resolvers cluster"]
    assert f"bind {own}\n" in parts["frontend dns"]
    assert text.count("10.96.0.10") == 1
    assert "server dns 10.96.0.10:53" in text.split("\nbackend cluster_dns\n")[1].split("\n\n")[0]


def test_a_load_balancer_outside_the_cluster_has_hosts_alone(render: Render) -> None:
    text = render("load_balancer", "haproxy.cfg.j2", **LOAD_BALANCER | {"load_balancer_ingress_pods": ""})
    assert "ingress_pods" not in text
    assert "resolvers" not in text
    assert "default_backend ingress_hosts" in text


def test_what_else_the_ingress_address_serves_leads_to_the_hosts_that_run_workloads(render: Render) -> None:
    services = [{"name": "object-store", "port": 3900, "node_port": 30390}]
    text = render("load_balancer", "haproxy.cfg.j2", **LOAD_BALANCER, load_balancer_tcp_services=services)

    assert "bind 10.0.0.101:3900" in text
    backend = text.split("\nbackend object-store_servers")[1].split("\n\n")[0]
    assert backend.count(":30390 check") == len(HOSTS)


def test_the_two_addresses_prefer_different_hosts_and_a_lame_host_falls_below_all(render: Render) -> None:
    priorities = {}
    for host in HOSTS:
        text = render("load_balancer", "keepalived.conf.j2", host=host, **LOAD_BALANCER)
        priorities[host] = [int(number) for number in re.findall(r"^  priority (\d+)$", text, re.MULTILINE)]
        peers = re.findall(r"^    (10\.0\.0\.1\d)$", text, re.MULTILINE)
        assert sorted(peers) == sorted(2 * [address for name, address in HOSTS.items() if name != host])
        assert text.count("{") == text.count("}")

        for address in ("10.0.0.100", "10.0.0.101"):
            assert f"{address}/32 dev lo scope host" in text, "on eth0 a move would make Cilium rebuild its datapath"
            assert text.count(f"/usr/local/sbin/isthmus-announce {address}") == 2, "nobody else tells the neighbours"
    assert "-I eth0" in render("load_balancer", "announce.sh.j2", **LOAD_BALANCER)

    for service in (0, 1):
        values = [priorities[host][service] for host in HOSTS]
        assert len(set(values)) == len(HOSTS), "equal priorities leave the holder to chance"
        assert max(values) - 40 < min(values), "a host without a server must lose against each with one"
    best = [max((priorities[host][service], host) for host in HOSTS)[1] for service in (0, 1)]
    assert best == ["one", "two"], "one loss would take both addresses"


def test_keepalived_asks_for_no_more_real_time_than_a_lab_machine_has(render: Render) -> None:
    text = render("load_balancer", "keepalived.service.j2", **LOAD_BALANCER)
    (micros,) = re.findall(r"^ExecStartPre=-/usr/local/sbin/isthmus-allow-realtime (\d+)$", text, re.MULTILINE)
    assert 0 < int(micros) <= MACHINE_REALTIME_US
    assert "vrrp_rt_priority 10" in render("load_balancer", "keepalived.conf.j2", **LOAD_BALANCER)


def test_a_load_balancer_alone_has_nobody_to_tell(render: Render) -> None:
    alone = LOAD_BALANCER | {"load_balancer_holders": {"one": HOSTS["one"]}}
    assert "unicast" not in render("load_balancer", "keepalived.conf.j2", **alone)
