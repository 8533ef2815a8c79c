"""AwsApi: AWS without AWS. moto's server in a container on the lab's network, whose journal brings its things back.

mirror/images/aws-api holds what runs in it, and says what it offers and how it restores.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from infra.providers.isthmus import hostprep, lab
from infra.providers.isthmus.handler import UNKNOWN, Change, Context, PartialFailure, ResourceError, input_changes
from infra.providers.isthmus.podman import CGROUP_PARENT, Podman, PodmanError, explain

PORT = 5000
USER = 65532
"""Whom it runs as, in the container and so on the host: the data belongs to that number."""

PATIENCE_S = 120
"""It answers once all is restored: seconds, and more of them on a busy host."""


class AwsApi:
    """Inputs: name, network, address, registry (URL), image (canonical name), image_digest, account_id, data (host
    folder), checkout, environment.
    """

    token: ClassVar[str] = "isthmus:lab:AwsApi"
    outputs: ClassVar[tuple[str, ...]] = ("endpoint", "status")
    secrets: ClassVar[frozenset[str]] = frozenset()

    # Only what means another account: a new image or address takes over what is there.
    REPLACE: ClassVar[frozenset[str]] = frozenset({"name", "account_id", "data", "checkout", "environment"})
    # Where the image comes from does not matter as long as its digest is the same.
    IGNORE: ClassVar[frozenset[str]] = frozenset({"registry", "image"})
    CONTAINER: ClassVar[tuple[str, ...]] = ("network", "address", "image_digest", "account_id", "data")
    """The inputs that a container is made from."""

    def __init__(self, podman: Podman | None = None) -> None:
        self._podman = podman or Podman.default()

    def check(self, news: dict[str, Any]) -> dict[str, str]:
        """Refuse what podman or moto would only refuse half way."""
        reasons: dict[str, str] = {}
        if (address := news.get("address")) is not UNKNOWN:
            try:
                ipaddress.IPv4Address(address)
            except ValueError as error:
                reasons["address"] = f"is not an IPv4 address: {error}"
        account = news.get("account_id")
        if account is not UNKNOWN and not re.fullmatch(r"\d{12}", str(account)):
            reasons["account_id"] = f"is {account!r}, and an AWS account has 12 digits, as a text"
        data = news.get("data")
        if data is not UNKNOWN and (not str(data).startswith("/") or ":" in str(data)):
            reasons["data"] = f"is {data}, and must be an absolute path without a colon"
        return reasons

    def diff(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> list[Change]:  # noqa: ARG002
        """Changed inputs, and an API that does not run: seen here, so that `up` heals without a refresh."""
        changes = input_changes(olds, news, replace=self.REPLACE, ignore=self.IGNORE)
        if not changes and (status := lab.status_of(self._podman.inspect(rid))) != "running":
            changes.append(Change(path="status", kind="update", detail=f"is {status}; it will be started"))
        return changes

    def create(self, ctx: Context, news: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Start it, or take over what an interrupted run began."""
        return news["name"], self._ensure(ctx, news)

    def read(self, ctx: Context, rid: str, state: dict[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """An API without its container is missing, not gone: its journal is still there."""
        return {**state, "status": lab.status_of(self._podman.inspect(rid))}

    def update(self, ctx: Context, rid: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        """The same road as create: every step looks first."""
        if not Path(news["data"], "journal.jsonl").exists():
            ctx.log.warning(
                f"the journal in {news['data']} is gone, and with it all that was made at this API: "
                "`pulumi refresh` sees that, and the next `make up` makes it anew"
            )
        return self._ensure(ctx, news)

    def delete(self, ctx: Context, rid: str, state: dict[str, Any]) -> None:
        """Remove it with its data: a new account is empty."""
        ctx.log.status("removing the AWS API")
        self._remove(self._podman.inspect(rid))
        shutil.rmtree(state["data"], ignore_errors=True)

    def _ensure(self, ctx: Context, news: dict[str, Any]) -> dict[str, Any]:
        name = news["name"]
        state = {**news, "endpoint": f"http://{news['address']}:{PORT}"}
        container = self._own(news)
        if container is None or container["Config"]["Labels"].get("isthmus.spec") != self._spec(news):
            tag = self._image(ctx, news)
            self._remove(container)
            self._make(news, tag)
            container = self._podman.inspect(name)
        try:
            if lab.status_of(container) == "paused":
                self._podman("unpause", name)
            elif lab.status_of(container) == "stopped":
                ctx.log.status("starting the AWS API")
                lab.start(name, self._podman)
            health = self._await(ctx, name, state["endpoint"])
        except ResourceError as error:
            status = lab.status_of(self._podman.inspect(name))
            raise PartialFailure(str(error), rid=name, state={**state, "status": status}) from error
        for text in health["warnings"]:
            ctx.log.warning(f"the AWS API: {text}")
        return {**state, "status": "running"}

    def _own(self, news: dict[str, Any]) -> dict[str, Any] | None:
        """The container of an earlier run. Raises ResourceError if another's."""
        container = self._podman.inspect(news["name"])
        if container is not None:
            found = container["Config"]["Labels"] or {}
            if (found.get(lab.CHECKOUT), found.get(lab.ENVIRONMENT)) != (news["checkout"], news["environment"]):
                raise ResourceError(f"the name {news['name']} is taken by another lab: `make down ALL=1` ends it")
        return container

    def _remove(self, container: dict[str, Any] | None) -> None:
        if container:
            # Whatever it answered is on disk: there is nothing to wait for.
            self._podman.remove(container["Id"])
            hostprep.remove_cgroups(f"{CGROUP_PARENT}/libpod-{container['Id']}")

    def _spec(self, news: dict[str, Any]) -> str:
        return hashlib.sha256(json.dumps([news[key] for key in self.CONTAINER]).encode()).hexdigest()

    def _make(self, news: dict[str, Any], tag: str) -> None:
        data = Path(news["data"])
        data.mkdir(parents=True, exist_ok=True)
        data.chmod(0o700)
        for path in (data, *data.rglob("*")):
            os.chown(path, USER, USER)
        name = news["name"]
        self._podman(
            *("create", "--name", name, "--hostname", name, "--label", f"isthmus.spec={self._spec(news)}"),
            *lab.labels(news["checkout"], news["environment"], "aws-api"),
            *("--network", news["network"], "--ip", news["address"], "--mac-address", lab.mac_of(news["address"])),
            *("--no-hosts", "--dns=none", "--cgroup-parent", f"/{CGROUP_PARENT}", "--pids-limit=-1"),
            *("--user", f"{USER}:{USER}", "--read-only", "--cap-drop=all", "--security-opt", "no-new-privileges"),
            # A few times only: a journal that it cannot read would end it again and again.
            *("--restart=on-failure:5", *hostprep.Host.detect().ulimits()),
            *("--volume", f"{data}:/data", "--log-driver", "k8s-file", "--log-opt", "max-size=1mb"),
            *(tag, "--data", "/data", "--account", news["account_id"]),
        )

    def _image(self, ctx: Context, news: dict[str, Any]) -> str:
        """The image's name in podman's store, pulled unless its digest is there already."""
        tag = f"localhost/isthmus-aws-api:{news['image_digest'].removeprefix('sha256:')[:12]}"
        if self._podman("images", "--quiet", tag).strip():
            return tag
        ctx.log.status("pulling the AWS API's image")
        registry = news["registry"].removeprefix("http://")
        source = f"{registry}/{news['image'].rpartition(':')[0]}@{news['image_digest']}"
        arguments = ("pull", "--quiet", "--tls-verify=false", source)
        # The mirror is on a bridge of this host: no proxy of the user's leads there.
        direct = {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}
        done = subprocess.run(self._podman.command(*arguments), capture_output=True, text=True, env=direct, check=False)
        if done.returncode:
            reason = explain(arguments, done.stderr.strip()).rstrip(" ,.")
            raise PodmanError(f"{reason}; `make mirror ARGS=sync` fills the mirror")
        self._podman("tag", done.stdout.strip(), tag)
        return tag

    def _await(self, ctx: Context, name: str, endpoint: str) -> dict[str, Any]:
        """What it says of itself once all is restored. Raises ResourceError."""
        deadline = time.monotonic() + PATIENCE_S
        before = self._restarts(name)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while True:
            try:
                with opener.open(f"{endpoint}/moto-api/health", timeout=5) as answer:
                    return json.load(answer)
            except (urllib.error.URLError, OSError) as error:
                reason = error
            if ctx.cancelled.is_set():
                raise ResourceError(f"{name}: stopped while it restored; the next `make up` continues")
            if lab.status_of(self._podman.inspect(name)) != "running" or self._restarts(name) != before:
                last = (self._podman("logs", "--tail", "1", name).strip() or "its log is empty").splitlines()[-1]
                raise ResourceError(f"{name} ended before it answered at {endpoint}: {last}")
            if time.monotonic() > deadline:
                raise ResourceError(
                    f"{name} does not answer at {endpoint} after {PATIENCE_S} s: {reason}; is the host overloaded? "
                    f"Run again; its log: podman logs {name}"
                )
            time.sleep(0.3)

    def _restarts(self, name: str) -> int:
        container = self._podman.inspect(name)
        return container["RestartCount"] if container else 0
