"""What a lab may leave on the machine that runs it: taken before the lab and compared after it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

from infra.paths import state

SYSCTLS = (
    "fs/inotify/max_user_instances",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/timer_migration",
    "kernel/unprivileged_bpf_disabled",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)

CGROUPS = re.compile(r"isthmus|libpod|conmon|podman|kube|containerd")
"""Of what a lab could make. Sessions and services of the machine itself come and go, and are not the lab's."""

SETTLE_S = 20
"""The kernel takes links, mounts and cgroups away shortly after the last process that had them."""


def take() -> dict[str, list[str]]:
    """Links, firewall rules, loop devices, mounts, cgroups and sysctls of this machine, each as sorted lines."""
    cgroup = Path("/sys/fs/cgroup")
    folders = (str(path.relative_to(cgroup)) for path in cgroup.rglob("*") if path.is_dir())
    return {
        "links": _lines("ip", "-o", "-br", "link", cut=1),
        "iptables": _rules(),
        "nft tables": _tables(),
        "loop devices": _lines("losetup", "--list", "--noheadings", "--output", "BACK-FILE"),
        "mounts": _lines("findmnt", "-rn", "-o", "TARGET"),
        "cgroups": sorted(name for name in folders if CGROUPS.search(name)),
        "sysctls": [f"{name}={_sysctl(name)}" for name in SYSCTLS],
    }


def remember(environment: str) -> None:
    """Keeps the footprint of the machine without its lab; a lab that is there already is not part of it."""
    path = _file(environment)
    if not path.exists():
        path.write_text(json.dumps(take(), indent=1))


def leftovers(environment: str) -> list[str]:
    """What differs from before the lab, as lines such as `links: + podman3`; forgets the old footprint."""
    path = _file(environment)
    if not path.exists():
        return []
    came = since(json.loads(path.read_text()))
    path.unlink()
    return came


def since(before: dict[str, list[str]]) -> list[str]:
    """What came since then and does not go by itself."""
    deadline = time.monotonic() + SETTLE_S
    while (came := compare(before, take())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return came


def compare(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """The lines that came between two footprints; a changed sysctl is one.

    What went is not told: another program may have ended, or an earlier lab's remains may be gone at last.
    """
    return [
        f"{part}: + {line}" for part, lines in after.items() for line in sorted(set(lines) - set(before.get(part, [])))
    ]


def _file(environment: str) -> Path:
    return state(environment) / "footprint.json"


def _sysctl(name: str) -> str:
    path = Path("/proc/sys") / name
    return path.read_text().strip() if path.exists() else "absent"


def _lines(*command: str, cut: int | None = None) -> list[str]:
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    return sorted(line.split()[0] if cut else line for line in done.stdout.splitlines() if line)


def _tables() -> list[str]:
    """nft's tables but iptables' own: it makes those, empty, as soon as somebody lists its rules."""
    return [
        line for line in _lines("nft", "list", "tables") if line.split()[-1] not in ("filter", "nat", "mangle", "raw")
    ]


def _rules() -> list[str]:
    """iptables' rules and own chains, without counters, comments and the names of its built-in tables and chains."""
    found = []
    for line in _lines("iptables-save"):
        if line.startswith(":"):
            chain, policy, _ = line.split()
            if policy == "-":
                found.append(chain)
        elif not line.startswith(("#", "*", "COMMIT")):
            found.append(line)
    return found
