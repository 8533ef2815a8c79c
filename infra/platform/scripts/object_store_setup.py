"""Brings a Garage cluster to a described state: nodes joined, layout applied, keys imported, each with its bucket.

Runs in the cluster as the Job `garage-setup`, with the standard library alone. It compares before it changes, so it
may run again at any time. Usage: object_store_setup.py STATE_FILE SECRETS_DIR, where the folder holds the file
admin_token, and for each bucket of the state a folder of its name with access_key_id and secret_access_key.
"""

from __future__ import annotations

import functools
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_S = 300.0
PAUSE_S = 1.0
REQUEST_TIMEOUT_S = 20.0


class SetupError(Exception):
    """The state cannot be reached; the message says what is in the way."""


class Refused(Exception):
    """The server answered with an error; `status` is HTTP's."""

    def __init__(self, endpoint: str, status: int, reason: str) -> None:
        super().__init__(f"{endpoint}: {status} {reason}")
        self.status = status


class Admin:
    """The admin API of one node, version 2."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._token = token

    def call(self, endpoint: str, body: Any = None, **query: str) -> Any:
        """GET, or POST if there is a body; gives the parsed answer."""
        url = f"{self.url}/v2/{endpoint}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise Refused(endpoint, error.code, error.read().decode(errors="replace").strip()) from error
        return json.loads(text) if text else None


def say(text: str) -> None:
    """Progress, for the Job's log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def until(what: str, attempt: Callable[[], Any], deadline: float) -> Any:
    """The first result of `attempt` that is not None. Servers that do not answer yet, or badly, are asked again."""
    reason = "it did not come about"
    while True:
        try:
            result = attempt()
            if result is not None:
                return result
        except Refused as error:
            if error.status < 500:
                raise
            reason = str(error)
        except (OSError, ValueError) as error:
            reason = str(error)
        if time.monotonic() > deadline:
            raise SetupError(f"gave up waiting: {what} ({reason})")
        time.sleep(PAUSE_S)


def node_id(admin: Admin) -> str:
    """The identity of the node that answers."""
    answer = admin.call("GetNodeInfo", node="self")
    if answer["error"]:
        raise SetupError(f"{admin.url}: {answer['error']}")
    return next(iter(answer["success"]))


def connect(first: Admin, nodes: dict[str, dict[str, Any]], deadline: float) -> None:
    """Makes all nodes know each other."""
    peers = [f"{identity}@{node['rpc']}" for identity, node in nodes.items()]

    def connected() -> bool | None:
        up = {node["id"] for node in first.call("GetClusterStatus")["nodes"] if node["isUp"]}
        if nodes.keys() <= up:
            return True
        for peer, answer in zip(peers, first.call("ConnectClusterNodes", peers), strict=True):
            if not answer["success"]:
                say(f"cannot reach {peer.partition('@')[2]} yet: {answer['error']}")
        return None

    until(f"{len(nodes)} nodes connected", connected, deadline)
    say(f"{len(nodes)} nodes are connected")


def lay_out(first: Admin, nodes: dict[str, dict[str, Any]]) -> None:
    """Gives each node its zone and capacity, and takes every other node's role."""
    layout = first.call("GetClusterLayout")
    if layout["stagedRoleChanges"]:
        # Left by a run that was cut off, or by hand: what is described here holds.
        first.call("RevertClusterLayout", {})
    have = {role["id"]: (role["zone"], role["capacity"]) for role in layout["roles"]}
    want = {identity: (node["zone"], node["capacity"]) for identity, node in nodes.items()}
    changes: list[dict[str, Any]] = [
        {"id": identity, "zone": zone, "capacity": capacity, "tags": []}
        for identity, (zone, capacity) in want.items()
        if have.get(identity) != (zone, capacity)
    ]
    changes += [{"id": identity, "remove": True} for identity in have.keys() - want.keys()]
    if not changes:
        say(f"layout {layout['version']} is right")
        return
    # Never two copies of an object in one zone, which is a host.
    first.call("UpdateClusterLayout", {"roles": changes, "parameters": {"zoneRedundancy": "maximum"}})
    version = layout["version"] + 1
    first.call("ApplyClusterLayout", {"version": version})
    say(f"layout {version} is applied: {len(changes)} roles changed")


def healthy(first: Admin) -> bool | None:
    """True once every node is connected and every part of the data is where it belongs."""
    return True if first.call("GetClusterHealth")["status"] == "healthy" else None


def import_key(first: Admin, name: str, access_key_id: str, secret_access_key: str) -> None:
    """Makes the key known; its secret must be the one that the store may know already."""
    try:
        known = first.call("GetKeyInfo", id=access_key_id, showSecretKey="true")
    except Refused as error:
        if error.status != 404:
            raise
        body = {"accessKeyId": access_key_id, "secretAccessKey": secret_access_key, "name": name}
        first.call("ImportKey", body)
        say(f"key {access_key_id} is imported")
        return
    if known["secretAccessKey"] != secret_access_key:
        raise SetupError(f"key {access_key_id} is known with another secret: make a new key, both parts of it")
    say(f"key {access_key_id} is known")


def open_bucket(first: Admin, bucket: str, access_key_id: str) -> None:
    """Makes the bucket, lets the key read and write in it, and no other key do anything."""
    try:
        known = first.call("GetBucketInfo", globalAlias=bucket)
    except Refused as error:
        if error.status != 404:
            raise
        known = first.call("CreateBucket", {"globalAlias": bucket})
        say(f"bucket {bucket} is made")
    want = {"read": True, "write": True, "owner": False}
    have = {key["accessKeyId"]: key["permissions"] for key in known["keys"]}
    if have.get(access_key_id) != want:
        _permit(first, "AllowBucketKey", known["id"], access_key_id, {"read": True, "write": True})
        _permit(first, "DenyBucketKey", known["id"], access_key_id, {"owner": True})
    for other in have.keys() - {access_key_id}:
        _permit(first, "DenyBucketKey", known["id"], other, {"read": True, "write": True, "owner": True})
        say(f"key {other} may no longer use bucket {bucket}")
    say(f"bucket {bucket} is open to key {access_key_id}")


def _permit(first: Admin, endpoint: str, bucket: str, key: str, permissions: dict[str, bool]) -> None:
    first.call(endpoint, {"bucketId": bucket, "accessKeyId": key, "permissions": permissions})


def run(state: dict[str, Any], token: str, keys: dict[str, dict[str, str]], patience_s: float = PATIENCE_S) -> None:
    """Everything, in order. `keys`: bucket -> both parts of the key that opens it, and it alone.

    Raises SetupError or Refused; what was done by then is kept.
    """
    deadline = time.monotonic() + patience_s
    admins = [Admin(node["admin"], token) for node in state["nodes"]]
    identities = [until(f"{admin.url} answers", functools.partial(node_id, admin), deadline) for admin in admins]
    nodes = dict(zip(identities, state["nodes"], strict=True))
    first = admins[0]
    connect(first, nodes, deadline)
    lay_out(first, nodes)
    until("every part of the data has its nodes", lambda: healthy(first), deadline)

    def finish() -> bool:
        for bucket, name in state["buckets"].items():
            import_key(first, name, **keys[bucket])
            open_bucket(first, bucket, keys[bucket]["access_key_id"])
        return True

    # Right after a new layout a write may still fail; each step compares first, so all are simply tried again.
    until("keys and buckets", finish, deadline)
    say("the object store is set up")


def main(arguments: list[str]) -> int:
    """Reads the state and the secrets; 0 if the state is reached."""
    state_file, secrets_dir = (Path(argument) for argument in arguments)
    state = json.loads(state_file.read_text())
    parts = ("access_key_id", "secret_access_key")
    keys = {
        bucket: {part: (secrets_dir / bucket / part).read_text().strip() for part in parts}
        for bucket in state["buckets"]
    }
    try:
        run(state, (secrets_dir / "admin_token").read_text().strip(), keys)
    except (SetupError, Refused) as error:
        sys.stderr.write(f"the object store is not set up: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
