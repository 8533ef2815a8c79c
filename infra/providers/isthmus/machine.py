"""Machine: a podman container that boots systemd and sshd. Roles and tests cannot tell it from a server."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any, ClassVar

from infra.providers.isthmus import hostprep, images, lab
from infra.providers.isthmus.handler import UNKNOWN, Change, Context, PartialFailure, ResourceError, input_changes
from infra.providers.isthmus.podman import CGROUP_PARENT, Podman

BOOT_PATIENCE_S = 90


class Machine:
    """Inputs: hostname, network, address, mac (optional), uplinks (network -> address; optional), image, image_digest,
    authorized_key, disks (mount point -> host folder), shared (the same, of several machines; optional), checkout,
    environment.

    On its network the machine is eth0, on its uplinks eth1 and so on, in the order of their names.
    """

    token: ClassVar[str] = "isthmus:lab:Machine"
    outputs: ClassVar[tuple[str, ...]] = ("host_key", "container_id", "status")
    secrets: ClassVar[frozenset[str]] = frozenset()

    REPLACE: ClassVar[frozenset[str]] = frozenset(
        {
            "hostname",
            "network",
            "address",
            "mac",
            "uplinks",
            "image_digest",
            "disks",
            "shared",
            "checkout",
            "environment",
        }
    )
    IGNORE: ClassVar[frozenset[str]] = frozenset({"image"})

    def __init__(self, podman: Podman | None = None) -> None:
        self._podman = podman or Podman.default()

    def check(self, news: dict[str, Any]) -> dict[str, str]:
        """Refuse what podman would only refuse half way."""
        reasons: dict[str, str] = {}
        uplinks = news.get("uplinks") or {}
        given = [("address", news.get("address"))]
        given += [("uplinks", address) for address in uplinks.values()] if uplinks is not UNKNOWN else []
        for where, address in given:
            if address is UNKNOWN:
                continue
            try:
                ipaddress.IPv4Address(address)
            except ValueError as error:
                reasons[where] = f"is not an IPv4 address: {error}"
        key = news.get("authorized_key")
        if key is not UNKNOWN and not str(key).startswith(("ssh-", "ecdsa-", "sk-")):
            reasons["authorized_key"] = "is not an OpenSSH public key, such as `ssh-ed25519 AAAA...`"
        for where in ("disks", "shared"):
            for mount, folder in (news.get(where) or {}).items() if news.get(where) is not UNKNOWN else ():
                if not mount.startswith("/"):
                    reasons[where] = f"has the mount point {mount}, which must be an absolute path"
                elif folder is not UNKNOWN and (not str(folder).startswith("/") or ":" in str(folder)):
                    reasons[where] = f"has the folder {folder}, which must be an absolute path without a colon"
        return reasons

    def diff(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> list[Change]:  # noqa: ARG002
        """Changed inputs, and a machine that does not run: seen here, so that `up` heals without a refresh."""
        changes = input_changes(olds, news, replace=self.REPLACE, ignore=self.IGNORE)
        if not changes and (status := lab.status_of(self._podman.inspect(rid))) != "running":
            cure = "made anew on its own disks" if status == "missing" else "started"
            changes.append(Change(path="status", kind="update", detail=f"is {status}; it will be {cure}"))
        return changes

    def create(self, ctx: Context, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Boot it, or take over what an interrupted run began."""
        return news["hostname"], self._ensure(ctx, news)

    def read(self, ctx: Context, rid: str, state: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """A machine without its container is missing, not gone: its disks are still there."""
        return {**state, "status": lab.status_of(self._podman.inspect(rid))}

    def update(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """Bring it back to running, with the key that it should accept."""
        return self._ensure(ctx, news)

    def delete(self, ctx: Context, rid: str, state: dict[str, Any]) -> None:
        """Remove the machine with its disks: what a new machine of that name finds must be new as well."""
        ctx.log.status("powering off")
        if container := self._podman.inspect(rid):
            self._podman.remove(rid)
            hostprep.remove_cgroups(f"{CGROUP_PARENT}/libpod-{container['Id']}")
        for folder in (state.get("disks") or {}).values():
            shutil.rmtree(folder, ignore_errors=True)

    def _ensure(self, ctx: Context, news: dict[str, Any]) -> dict[str, Any]:
        name = news["hostname"]
        container = self._own(news)
        if container is None:
            ctx.log.status("making the machine")
            self._make(news, images.ensure(self._podman, news["image"], news["image_digest"]))
        try:
            return self._boot(ctx, news)
        except ResourceError as error:
            container = self._podman.inspect(name)
            state = {
                **news,
                "host_key": "",
                "container_id": container["Id"] if container else "",
                "status": lab.status_of(container),
            }
            raise PartialFailure(str(error), rid=name, state=state) from error

    def _own(self, news: dict[str, Any]) -> dict[str, Any] | None:
        """The container of an earlier run; one that was made differently goes. Raises ResourceError if another's."""
        name = news["hostname"]
        container = self._podman.inspect(name)
        if container is None:
            return None
        found = container["Config"]["Labels"] or {}
        if (found.get(lab.CHECKOUT), found.get(lab.ENVIRONMENT)) != (news["checkout"], news["environment"]):
            raise ResourceError(f"the name {name} is taken by a machine of another lab: `make down ALL=1` ends it")
        if found.get("isthmus.spec") == self._spec(news):
            return container
        self._podman.remove(name)
        return None

    def _spec(self, news: dict[str, Any]) -> str:
        wanted = {key: news.get(key) for key in self.REPLACE}
        return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()

    def _make(self, news: dict[str, Any], tag: str) -> None:
        folders = {**news["disks"], **(news.get("shared") or {})}
        for folder in folders.values():
            Path(folder).mkdir(parents=True, exist_ok=True)
        # podman mounts nosuid,nodev unless told otherwise; containers inside the machine need both, and exec.
        disks = [flag for mount, folder in folders.items() for flag in ("--volume", f"{folder}:{mount}:suid,dev,exec")]
        # Where the kernel has modules, parts inside the machine may load one, as they would on a server.
        if Path("/lib/modules").is_dir():
            disks += ["--volume", "/lib/modules:/lib/modules:ro"]
        host = hostprep.Host.detect()
        self._podman(
            *("create", "--tty", "--name", news["hostname"], "--hostname", news["hostname"]),
            *("--label", f"isthmus.spec={self._spec(news)}"),
            *lab.labels(news["checkout"], news["environment"], "machine"),
            *("--privileged", "--cgroupns=private", "--cgroup-parent", f"/{CGROUP_PARENT}", "--systemd=false"),
            *("--env", "container=podman", "--stop-signal", "SIGRTMIN+3", "--stop-timeout", "10"),
            *_interfaces(news),
            *("--no-hosts", "--dns=none", "--restart=always", "--pids-limit=-1", *host.ulimits()),
            *host.realtime(),
            *("--tmpfs", "/run:rw,exec,mode=755", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:rw,exec,mode=1777"),
            *("--log-opt", "max-size=1mb", *disks, tag),
        )

    def _boot(self, ctx: Context, news: dict[str, Any]) -> dict[str, Any]:
        name = news["hostname"]
        status = lab.status_of(self._podman.inspect(name))
        if status == "paused":
            self._podman("unpause", name)
        elif status == "stopped":
            ctx.log.status("booting")
            lab.start(name, self._podman)
        await_ssh(name, news["address"], ctx)
        key = news["authorized_key"].strip() + "\n"
        # Written in one go under another name, so that a login in between finds the old key or the new one.
        store = "umask 077; mkdir -p /root/.ssh; cat > /root/.ssh/.new; mv /root/.ssh/.new /root/.ssh/authorized_keys"
        self._podman.execute(name, "sh", "-c", store, stdin=key)
        host_key = self._podman.execute(name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()
        container = self._podman.inspect(name)
        assert container is not None
        return {
            **news,
            "host_key": " ".join(host_key[:2]),
            "container_id": container["Id"],
            "status": lab.status_of(container),
        }


def _interfaces(news: dict[str, Any]) -> list[str]:
    """podman's flags for the machine's interfaces."""
    addresses = {news["network"]: news["address"], **dict(sorted((news.get("uplinks") or {}).items()))}
    macs = {news["network"]: news.get("mac") or lab.mac_of(news["address"])}
    return [
        flag
        for number, (network, address) in enumerate(addresses.items())
        for flag in (
            "--network",
            f"{network}:ip={address},mac={macs.get(network) or lab.mac_of(address)},interface_name=eth{number}",
        )
    ]


def await_ssh(name: str, address: str, ctx: Context) -> None:
    """Wait until sshd greets. Raises ResourceError."""
    deadline = time.monotonic() + BOOT_PATIENCE_S
    while True:
        if ctx.cancelled.is_set():
            raise ResourceError(f"{name}: stopped while it booted; the next `make up` continues")
        try:
            with socket.create_connection((address, 22), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise ResourceError(
                f"{name} does not answer ssh at {address} after {BOOT_PATIENCE_S} s; is the host overloaded, "
                "or does it block its own bridge? Run again; `make machine` with DO=power-off gives it up"
            )
        time.sleep(0.1)
