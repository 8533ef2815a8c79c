"""What the lab needs of the host: found out, never assumed; and the kernel settings that it changes, put back after."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import resource
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.providers.isthmus.handler import ResourceError
from infra.providers.isthmus.podman import RUN

CAP_SYS_RESOURCE = 24

REALTIME = Path("/sys/fs/cgroup/cpu")
REALTIME_FILE = "cpu.rt_runtime_us"
MACHINE_REALTIME_US = 50_000
"""Of each second and processor, for the real-time processes of one machine."""
LAB_REALTIME_US = 800_000
"""For all machines of this host together."""
FORGOTTEN_S = 10.0
"""Longest that the kernel may take, which forgets a removed cgroup some 20 ms later."""

SAVED = "host.json"
"""Under RUN: what the settings were before the first lab, and which labs hold them changed. Gone after a restart of
the host, and so are the changes."""

SET = {
    # With 1 the host masquerades traffic from machines to the pod network. Machines keep their own value.
    "net.bridge.bridge-nf-call-iptables": 0,
    "net.bridge.bridge-nf-call-ip6tables": 0,
    "net.bridge.bridge-nf-call-arptables": 0,
}
AT_LEAST = {
    # Each machine's systemd, containerd and kubelet watch files; the usual 128 are spent by the second machine.
    "fs.inotify.max_user_instances": 8192,
    "fs.inotify.max_user_watches": 524288,
}
# Written by podman's network or by parts inside the machines, should the machines' own shield not hold.
WATCHED = (
    "net.ipv4.ip_forward",
    # The kernel rewrites this one whenever ip_forward changes, so it has to come after it.
    "net.ipv4.conf.all.accept_redirects",
    # A machine's systemd raises these two as its very first act, before any shield.
    "fs.file-max",
    "fs.nr_open",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.pid_max",
    "kernel.timer_migration",
    "kernel.unprivileged_bpf_disabled",
    "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    "net.netfilter.nf_conntrack_max",
)
# Built in on some kernels, modules on others; machines share the host's kernel and should find them there.
MODULES = ("overlay", "br_netfilter", "nf_conntrack", "vxlan", "ip_tables", "ip6_tables", "nf_tables", "veth")


@dataclass(frozen=True, kw_only=True)
class Host:
    """What differs between hosts that a lab runs on."""

    cgroup_version: int
    sys_resource: bool
    open_files: int
    """The hard limit of open files that a machine's processes can have."""
    processes: int
    realtime_groups: bool
    """Whether the kernel gives a cgroup no real-time processor time until it is told to (cgroup v1 alone can)."""

    @classmethod
    def detect(cls) -> Host:
        """Look at this host."""
        status = dict(
            line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
        )
        sys_resource = bool(int(status["CapEff"], 16) >> CAP_SYS_RESOURCE & 1)
        processes = int(read_sysctl("kernel.pid_max") or 32768)
        open_files = 1048576
        if not sys_resource:
            # Without the capability a limit can only be lowered, and runc fails on an attempt to raise it.
            open_files = _at_most(open_files, resource.RLIMIT_NOFILE)
            processes = _at_most(processes, resource.RLIMIT_NPROC)
        return cls(
            cgroup_version=2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
            sys_resource=sys_resource,
            open_files=open_files,
            processes=processes,
            realtime_groups=(REALTIME / REALTIME_FILE).exists(),
        )

    def realtime(self) -> list[str]:
        """podman's flag for a machine's real-time processes, where the kernel asks for one."""
        return ["--cpu-rt-runtime", str(MACHINE_REALTIME_US)] if self.realtime_groups else []

    def ulimits(self) -> list[str]:
        """podman's flags for a machine's limits."""
        return [
            *("--ulimit", f"nofile={self.open_files}:{self.open_files}"),
            *("--ulimit", f"nproc={self.processes}:{self.processes}"),
        ]


def _at_most(wanted: int, limit: int) -> int:
    hard = resource.getrlimit(limit)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def read_sysctl(key: str) -> str | None:
    """A kernel setting's value, or None where this kernel does not have it."""
    try:
        return Path("/proc/sys", key.replace(".", "/")).read_text().strip()
    except OSError:
        return None


def write_sysctl(key: str, value: str) -> bool:
    """Whether the kernel took it."""
    try:
        Path("/proc/sys", key.replace(".", "/")).write_text(value)
    except OSError:
        return False
    return True


def attempt(*command: str) -> str:
    """What a command prints; empty when it fails or is not installed, where there is nothing to do for it then."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""


@contextmanager
def locked() -> Iterator[None]:
    """One at a time, over all checkouts: resources are made side by side, and so may labs be."""
    RUN.mkdir(parents=True, exist_ok=True)
    with (RUN / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _nft_tables() -> list[str]:
    """The host's packet filter tables, as "family name"."""
    return [line.removeprefix("table ").strip() for line in attempt("nft", "list", "tables").splitlines()]


def prepare(holder: Path) -> None:
    """Save and change the host's settings for the lab whose store is `holder`. Repeating it changes nothing.

    Raises ResourceError without root.
    """
    if os.geteuid() != 0:
        raise ResourceError("the lab boots machines and so needs root: run the command with sudo or as root")
    for module in MODULES:
        # Fails where it is built in, or where there are no modules: then there is nothing to load either.
        attempt("modprobe", "--quiet", module)
    with locked():
        path = RUN / SAVED
        if path.exists():
            saved = json.loads(path.read_text())
        else:
            before = {key: read_sysctl(key) for key in (*SET, *AT_LEAST, *WATCHED)}
            saved = {
                "sysctls": {key: value for key, value in before.items() if value is not None},
                "nft_tables": _nft_tables(),
                "holders": [],
            }
        saved["holders"] = sorted({*saved["holders"], str(holder)})
        path.write_text(json.dumps(saved, indent=1))
        for key, number in SET.items():
            if read_sysctl(key) not in (None, str(number)):
                write_sysctl(key, str(number))
        for key, number in AT_LEAST.items():
            now = read_sysctl(key)
            if now is not None and int(now) < number:
                write_sysctl(key, str(number))


def release(holder: Path) -> list[str]:
    """This lab is gone: when it was the last one, put the settings back and remove packet filter tables left empty.

    :return: settings that the kernel did not take back, each with the value that it should have.
    """
    with locked():
        path = RUN / SAVED
        if not path.exists():
            return []
        saved = json.loads(path.read_text())
        # A test's lab whose folder is gone cannot release itself any more.
        saved["holders"] = [other for other in saved["holders"] if other != str(holder) and Path(other).exists()]
        if saved["holders"]:
            path.write_text(json.dumps(saved, indent=1))
            return []
        stuck = [
            f"{key}={value}"
            for key, value in saved["sysctls"].items()
            if read_sysctl(key) != value and not write_sysctl(key, value)
        ]
        remove_packet_filters(keep=saved["nft_tables"])
        path.unlink()
        return stuck


def remove_packet_filters(keep: list[str]) -> None:
    """Take away netavark's shared chains once no network uses them, then the empty tables that came with them."""
    for command in ("iptables", "ip6tables"):
        # A chain of one network (NETAVARK-<digest>) that is left means that another podman still uses the shared ones,
        # those too of tables where a network has none of its own.
        if not any(re.fullmatch("NETAVARK-[0-9A-F]+", chain) for chain in _chains(_rules(command, "nat"))):
            for table in ("nat", "filter", "mangle"):
                _remove_chains(command, table)
    for table in _nft_tables():
        if table in keep:
            continue
        listed = attempt("nft", "--json", "list", "table", *table.split())
        if listed and not any("rule" in item for item in json.loads(listed)["nftables"]):
            attempt("nft", "delete", "table", *table.split())


def _rules(command: str, table: str) -> list[str]:
    return attempt(command, "--wait", "--table", table, "--list-rules").splitlines()


def _chains(rules: list[str]) -> list[str]:
    """Netavark's, of a table with these rules."""
    return [rule.split()[1] for rule in rules if rule.startswith("-N NETAVARK")]


def _remove_chains(command: str, table: str) -> None:
    def call(*arguments: str) -> None:
        attempt(command, "--wait", "--table", table, *arguments)

    rules = _rules(command, table)
    chains = _chains(rules)
    for rule in rules:
        words = shlex.split(rule)  # a comment is in quotes
        if words[0] == "-A" and any(chain in words[2:] for chain in chains) and words[1] not in chains:
            call("--delete", *words[1:])
    for chain in chains:
        call("--flush", chain)
    for chain in chains:
        call("--delete-chain", chain)


def allow_realtime(parent: str) -> None:
    """Let containers below the cgroup `parent` have real-time processes, where the kernel asks for it.

    podman says what a container may take and fails where its parent has less.
    """
    if not (REALTIME / REALTIME_FILE).exists():
        return
    folder = REALTIME / parent
    folder.mkdir(exist_ok=True)
    deadline = time.monotonic() + FORGOTTEN_S
    while True:
        try:
            (folder / REALTIME_FILE).write_text(str(LAB_REALTIME_US))
            return
        except OSError as error:
            # What the parent of a lab that has just gone was given counts until the kernel has forgotten it.
            if error.errno != errno.EINVAL or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def remove_cgroups(parent: str) -> None:
    """Remove the empty cgroup folders that podman leaves below `parent`, in every hierarchy.

    `parent` must not be one below which a container is just being made: its folder is empty for a moment.
    """
    base = Path("/sys/fs/cgroup")
    for top in (base / parent, *base.glob(f"*/{parent}")):
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:
                # Still holds processes: another lab's.
                continue


def remove_network_remains() -> None:
    """Remove what podman's network program leaves after its last network: a chain without rules, a mount without names.

    Both are left alone while another program's containers use them.
    """
    chain = "NETAVARK_FORWARD"
    listed = subprocess.run(["iptables", "-w", "-S", chain], text=True, capture_output=True, check=False)
    if listed.returncode == 0 and listed.stdout.split() == ["-N", chain]:
        attempt(
            "iptables",
            "-w",
            "-D",
            "FORWARD",
            "-m",
            "comment",
            "--comment",
            "netavark firewall plugin rules",
            "-j",
            chain,
        )
        attempt("iptables", "-w", "-X", chain)
    names = Path("/run/netns")
    if names.is_dir() and not any(names.iterdir()):
        attempt("umount", str(names))
