"""Network: the lab's bridge, and the site's mirror that answers on it."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from infra.naming import MIRROR_METRICS_PORT, MIRROR_PORT
from infra.providers.isthmus import hostprep, images, lab
from infra.providers.isthmus.handler import UNKNOWN, Change, Context, PartialFailure, ResourceError, input_changes
from infra.providers.isthmus.podman import CGROUP_PARENT, Podman

MIRROR_PATIENCE_S = 30

# Read-only: what is in the mirror was put there and checked by `mirror sync`, and nodes only fetch.
REGISTRY_CONFIG = {
    "version": 0.1,
    "log": {"level": "warn", "accesslog": {"disabled": True}},
    "storage": {
        "filesystem": {"rootdirectory": "/var/lib/registry"},
        "maintenance": {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}},
    },
    "http": {
        "addr": f":{MIRROR_PORT}",
        "debug": {"addr": f":{MIRROR_METRICS_PORT}", "prometheus": {"enabled": True, "path": "/metrics"}},
    },
}


KINDS: dict[str, list[str]] = {
    # Of two networks that have this option, neither is let through to the other.
    "site": ["--opt", "isolate=true"],
    # Not podman's --internal, which would spare the machine a second default route: it drops what comes back over NAT.
    "uplink": [],
}


class Network:
    """Inputs: name, cidr, gateway, mirror_address, registry_binary, registry_storage, image, image_digest, checkout,
    environment, kind. An empty registry_binary means a network without a mirror, as throwaway machines need.

    `kind`: a site, which reaches no other site by itself; or an uplink, which every site's packets come to, as they
    would to the address of a VPN's end in the internet.
    """

    token: ClassVar[str] = "isthmus:lab:Network"
    outputs: ClassVar[tuple[str, ...]] = ("bridge", "mirror_url", "status")
    secrets: ClassVar[frozenset[str]] = frozenset()

    REPLACE: ClassVar[frozenset[str]] = frozenset({"name", "cidr", "gateway", "kind", "checkout", "environment"})
    # Where the image's tar lies does not matter as long as its digest is the same.
    IGNORE: ClassVar[frozenset[str]] = frozenset({"image"})

    def __init__(self, podman: Podman | None = None) -> None:
        self._podman = podman or Podman.default()

    def check(self, news: dict[str, Any]) -> dict[str, str]:
        """Refuse addresses that are none or lie outside the network."""
        reasons: dict[str, str] = {}
        if (kind := news.get("kind")) is not UNKNOWN and kind not in KINDS:
            reasons["kind"] = f"is {kind!r}, not one of {', '.join(KINDS)}"
        try:
            network = ipaddress.IPv4Network(news["cidr"])
        except (ValueError, KeyError) as error:
            return (
                {**reasons, "cidr": f"is not an IPv4 network: {error}"} if news.get("cidr") is not UNKNOWN else reasons
            )
        for key in ("gateway", "mirror_address"):
            if news.get(key) is UNKNOWN or (key == "mirror_address" and news.get("registry_binary") == ""):
                continue
            try:
                address = ipaddress.IPv4Address(news.get(key, ""))
            except ValueError as error:
                reasons[key] = f"is not an IPv4 address: {error}"
                continue
            if address not in network:
                reasons[key] = f"is {address}, which is not in {network}"
        return reasons

    def diff(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> list[Change]:  # noqa: ARG002
        """Changed inputs, and a mirror that does not run any more: seen here, so that `up` heals without a refresh."""
        changes = input_changes(olds, news, replace=self.REPLACE, ignore=self.IGNORE)
        status = self._status(news) if isinstance(news.get("name"), str) else "running"
        if not changes and status != "running":
            changes.append(Change(path="status", kind="update", detail=f"the mirror is {status}; it will be started"))
        return changes

    def create(self, ctx: Context, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Refuse what is in the way before anything is touched; then bridge and mirror."""
        lab.claim(news["checkout"], news["environment"], self._podman)
        if self._adoptable(news) is None:
            refuse_taken(news["cidr"], self._bridges())
        hostprep.prepare(self._podman.root)
        return news["name"], self._ensure(ctx, news)

    def read(self, ctx: Context, rid: str, state: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """None when the network is not defined any more."""
        if self._podman.network(rid) is None:
            return None
        return {**state, "status": self._status(state)}

    def update(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """The same road as create: every step looks first."""
        hostprep.prepare(self._podman.root)
        return self._ensure(ctx, news)

    def delete(self, ctx: Context, rid: str, state: dict[str, Any]) -> None:  # noqa: ARG002
        """The mirror, the bridge, and what they left on the host."""
        if self._podman.inspect(f"{rid}-mirror"):
            self._podman("rm", "--force", "--time", "0", f"{rid}-mirror")
        if network := self._podman.network(rid):
            lab.remove_network(network, self._podman)
        if not lab.labs(self._podman):
            hostprep.remove_cgroups(CGROUP_PARENT)
            for setting in hostprep.release(self._podman.root):
                ctx.log.warning(f"the kernel kept {setting} changed until the host's next restart")

    def _ensure(self, ctx: Context, news: dict[str, Any]) -> dict[str, Any]:
        name = news["name"]
        network = self._adoptable(news)
        if network is None:
            ctx.log.status(f"making the network {news['cidr']}")
            labels = lab.labels(news["checkout"], news["environment"], "network")
            flags = ["--driver", "bridge", "--subnet", news["cidr"], "--gateway", news["gateway"], "--disable-dns"]
            self._podman("network", "create", *flags, *KINDS[news["kind"]], *labels, name)
            network = self._podman.network(name)
            assert network is not None
        state = {**news, "bridge": network["network_interface"], "mirror_url": "", "status": "running"}
        if not news.get("registry_binary"):
            return state
        state["mirror_url"] = f"http://{news['mirror_address']}:{MIRROR_PORT}"
        try:
            self._ensure_mirror(ctx, news)
            await_mirror(state["mirror_url"])
        except ResourceError as error:
            raise PartialFailure(str(error), rid=name, state={**state, "status": self._status(news)}) from error
        return state

    def _ensure_mirror(self, ctx: Context, news: dict[str, Any]) -> None:
        name = f"{news['name']}-mirror"
        tag = images.ensure(self._podman, news["image"], news["image_digest"])
        keys = ("mirror_address", "registry_binary", "registry_storage", "image_digest")
        wanted = hashlib.sha256(json.dumps([news[key] for key in keys]).encode()).hexdigest()
        container = self._podman.inspect(name)
        if container and container["Config"]["Labels"].get("isthmus.spec") == wanted:
            if lab.status_of(container) == "stopped":
                lab.start(name, self._podman)
            elif lab.status_of(container) == "paused":
                self._podman("unpause", name)
            lab.pin_bridges(self._podman)
            return
        ctx.log.status("starting the mirror")
        if container:
            self._podman("rm", "--force", "--time", "0", name)
        config = self._podman.root / f"{name}.json"
        config.write_text(json.dumps(REGISTRY_CONFIG))
        binary, storage = news["registry_binary"], news["registry_storage"]
        Path(storage).mkdir(parents=True, exist_ok=True)
        self._podman(
            *("create", "--name", name, "--hostname", name, "--label", f"isthmus.spec={wanted}"),
            *lab.labels(news["checkout"], news["environment"], "mirror"),
            *("--network", news["name"], "--ip", news["mirror_address"]),
            *("--mac-address", lab.mac_of(news["mirror_address"]), "--cgroup-parent", f"/{CGROUP_PARENT}"),
            *("--no-hosts", "--dns=none", "--restart=always", "--read-only", "--cap-drop=all", "--pids-limit=-1"),
            *hostprep.Host.detect().ulimits(),
            *("--volume", f"{binary}:/usr/local/bin/registry:ro", "--volume", f"{storage}:/var/lib/registry:ro"),
            *("--volume", f"{config}:/etc/registry.json:ro", "--env", "OTEL_TRACES_EXPORTER=none"),
            *("--log-opt", "max-size=1mb", "--stop-signal", "SIGTERM"),
            *(tag, "/usr/local/bin/registry", "serve", "/etc/registry.json"),
        )
        lab.start(name, self._podman)

    def _adoptable(self, news: dict[str, Any]) -> dict[str, Any] | None:
        """This lab's own network from an earlier, perhaps interrupted run. Raises ResourceError if another's."""
        network = self._podman.network(news["name"])
        if network is None:
            return None
        owner = network.get("labels") or {}
        if (owner.get(lab.CHECKOUT), owner.get(lab.ENVIRONMENT)) != (news["checkout"], news["environment"]):
            raise ResourceError(
                f"the name {news['name']} is taken by a network of another lab: `make down ALL=1` ends it"
            )
        subnet = network["subnets"][0]
        if (subnet["subnet"], subnet.get("gateway")) != (news["cidr"], news["gateway"]):
            raise ResourceError(
                f"the network {news['name']} exists as {subnet['subnet']} and should be {news['cidr']}: "
                "`make down`, then run again"
            )
        return network

    def _bridges(self) -> set[str]:
        return {network["network_interface"] for network in self._podman.list_networks()}

    def _status(self, state: dict[str, Any]) -> str:
        if self._podman.network(state["name"]) is None:
            return "missing"
        if not state.get("registry_binary"):
            return "running"
        return lab.status_of(self._podman.inspect(f"{state['name']}-mirror"))


def refuse_taken(cidr: str, ours: set[str]) -> None:
    """Raises ResourceError naming the interface when the host has an address or a route in `cidr` already."""
    wanted = ipaddress.IPv4Network(cidr)
    for route in json.loads(hostprep.attempt("ip", "-json", "-4", "route", "show", "table", "all") or "[]"):
        destination = route.get("dst", "default")
        if destination == "default" or route.get("dev") in ours:
            continue
        taken = ipaddress.ip_network(destination, strict=False)
        if taken.version == 4 and taken.overlaps(wanted) and taken.prefixlen > 0:
            raise ResourceError(
                f"the lab's network {wanted} overlaps {taken} on this host's interface {route.get('dev', '?')}: "
                "choose another network in the environment file, or remove that interface if an old lab left it"
            )


def await_mirror(url: str) -> None:
    """Wait until the registry answers. Raises ResourceError."""
    deadline = time.monotonic() + MIRROR_PATIENCE_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(f"{url}/v2/", timeout=2):
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise ResourceError(
                    f"the mirror at {url} does not answer after {MIRROR_PATIENCE_S} s: {error}; "
                    "a proxy or a firewall of this host may be in the way"
                ) from error
        time.sleep(0.1)
