"""What a person can do about a failed host: known messages of ssh, ansible and the system, and the way out of each."""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST = 600
"""Characters of a message that are shown."""
UNREACHABLE = "is the machine on (make status), and does its address in the environment file belong to it?"

_TABLE: tuple[tuple[str, str], ...] = (
    # The order matters: the first pattern that is found wins, so the precise ones come first.
    (
        r"host key verification failed|remote host identification has changed|no \S+ host key is known",
        "the machine answered with another ssh key than its recorded host_key. If it was rebuilt, record the new key "
        "(host_key in the environment file; in the lab: pulumi refresh); if not, somebody else answers at that address",
    ),
    (
        r"permission denied \([^)]*publickey|too many authentication failures",
        "the machine does not accept our ssh key: put the public key into authorized_keys of ansible_user",
    ),
    (
        r"missing sudo password|password is required|incorrect sudo|not in the sudoers"
        r"|not allowed to (execute|run sudo)|missing become password|incorrect (become|su) password",
        "ansible_user may not become root: give it passwordless sudo on that host",
    ),
    (r"no space left on device|disk quota exceeded", "a file system of that host is full: look with df -h and df -i"),
    (r"read-only file system", "a file system of that host is mounted read-only: look at dmesg for disk errors"),
    (
        r"address already in use|port \S+ is in use|\[error port-\d+\]|cannot bind (socket|to)",
        "another program holds the port: find it with ss -ltnp on that host",
    ),
    (
        r"connection refused.*ssh|ssh: .*connection refused|port \d+: connection refused",
        "nothing listens for ssh there: is sshd running, and is ansible_port right?",
    ),
    (
        r"could not resolve hostname|name or service not known|temporary failure in name resolution",
        "the name does not resolve: use an address in the environment file, or mend the resolver",
    ),
    (r"checksum|did not match", "what came from the mirror is not what the catalog pins: run make mirror ARGS=verify"),
    (
        r"urlopen error|request failed|http error|failed to (pull|download)|connection failure",
        "the mirror does not answer that host: is it up (make status), and can the host reach mirror_url?",
    ),
    (
        r"(could not get|unable to acquire).*lock|dpkg was interrupted",
        "another package manager runs on that host or was cut off: wait for it, or run dpkg --configure -a",
    ),
    (
        r"(python\S*: (command )?not found|no python interpreters? found|/python\S*: no such file)",
        "that host has no python3: install it, ansible needs it",
    ),
    (r"is undefined", "a variable is missing: the environment's inventory or variables do not give it"),
    (
        r"permission denied|operation not permitted|must be (run as )?root|are you root",
        "a privilege is missing: ansible_user must be root or able to become root on that host",
    ),
    (
        r"timed out|no route to host|network is unreachable|host is down|failed to connect",
        UNREACHABLE,
    ),
    (
        # Where ssh ends within a millisecond after it was handed the task, Ansible does not wait for its reason.
        r"data could not be sent",
        "ssh ended before it told why: is the machine on (make status), or does it answer with another ssh key than "
        "its recorded host_key (in the environment file; in the lab: pulumi refresh)?",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a host stopped: enough for one readable line."""

    host: str
    task: str
    message: str
    unreachable: bool = False

    @property
    def hint(self) -> str:
        """The way out, empty where none is known."""
        for pattern, advice in _TABLE:
            if re.search(pattern, self.message, re.IGNORECASE | re.DOTALL):
                return advice
        return UNREACHABLE if self.unreachable else ""

    def __str__(self) -> str:
        """Host, task, message and hint in one line."""
        kind = "unreachable" if self.unreachable else "failed"
        text = f"{self.host}: {kind} in task {self.task!r}: {_one_line(self.message)}"
        return f"{text}. Hint: {self.hint}" if self.hint else text


def _one_line(message: str) -> str:
    """The message without line breaks; the middle goes when it is long, because the cause stands at either end."""
    text = " ".join(message.split()).rstrip(".")
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 3]} [...] {text[-(LONGEST * 2 // 3) :]}"


def headline(failures: list[Failure]) -> str:
    """One line for all failed hosts. Hosts with the same failure are named together."""
    alike: dict[tuple[str, str, bool], list[Failure]] = {}
    for failure in failures:
        text = failure.message.replace(failure.host, "HOST")
        alike.setdefault((failure.task, text, failure.unreachable), []).append(failure)
    lines = []
    for group in alike.values():
        first = group[0]
        hosts = ", ".join(failure.host for failure in group)
        lines.append(str(Failure(host=hosts, task=first.task, message=first.message, unreachable=first.unreachable)))
    return " | ".join(lines)
