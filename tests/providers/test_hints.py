"""What a person is told to do about a host that failed."""

from __future__ import annotations

import pytest

from infra.providers.isthmus.hints import Failure, headline


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("ssh: connect to host 10.0.0.1 port 22: Connection refused", "nothing listens for ssh"),
        ("ssh: connect to host 10.0.0.1 port 22: No route to host", "is the machine on"),
        ("ssh: connect to host 10.0.0.1 port 22: Connection timed out", "is the machine on"),
        ("No ED25519 host key is known for 10.0.0.1 and you have requested strict checking", "another ssh key"),
        ("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!\nHost key verification failed.", "another ssh key"),
        ("Data could not be sent to remote host '10.0.0.1'. Make sure it can be reached over SSH.", "another ssh key"),
        ("root@10.0.0.1: Permission denied (publickey,password).", "does not accept our ssh key"),
        ("Missing sudo password", "passwordless sudo"),
        ("sudo: a password is required", "passwordless sudo"),
        ("write error: No space left on device", "file system of that host is full"),
        ("[ERROR Port-6443]: Port 6443 is in use", "another program holds the port"),
        ("bind: address already in use", "another program holds the port"),
        ("[Errno 13] Permission denied: '/etc/x'", "a privilege is missing"),
        ("'api_port' is undefined", "a variable is missing"),
        ("The checksum for /x did not match", "make mirror ARGS=verify"),
        ("Request failed: <urlopen error [Errno 111] Connection refused>", "the mirror does not answer"),
    ],
)
def test_each_known_message_has_its_way_out(message: str, advice: str) -> None:
    assert advice in Failure(host="a", task="t", message=message).hint


def test_an_unknown_message_has_no_invented_hint() -> None:
    assert Failure(host="a", task="t", message="the moon is full").hint == ""


def test_the_headline_is_one_line_and_joins_hosts_that_fail_alike() -> None:
    alike = [Failure(host=host, task="Ping", message=f"no\nroute to host {host}", unreachable=True) for host in "ab"]
    other = Failure(host="c", task="Install", message="x" * 5000)
    line = headline([*alike, other])
    assert line.startswith("a, b: unreachable in task 'Ping': no route to host a. Hint: is the machine on")
    assert "\n" not in line
    assert len(line) < 1500
