"""The part of Garage's admin API that the setup uses, in memory; answers have the shapes that Garage 2.5.0 gives."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "admin-token"


class NotFound(Exception):
    """Garage answers 404."""


class Garage:
    """A cluster of nodes behind one address for each; `writes` are the calls that changed something."""

    def __init__(self, nodes: int) -> None:
        self.connected: set[str] = {"node-0"}
        self.version = 0
        self.roles: dict[str, dict[str, Any]] = {}
        self.staged: list[dict[str, Any]] = []
        self.keys: dict[str, dict[str, Any]] = {}
        self.buckets: dict[str, dict[str, dict[str, bool]]] = {}
        self.writes: list[str] = []
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, f"node-{i}")) for i in range(nodes)]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def state(self, capacity: int = 100) -> dict[str, Any]:
        """What the setup is to bring about on these nodes."""
        nodes = [
            {
                "admin": f"http://127.0.0.1:{server.server_port}",
                "rpc": f"10.0.0.{i}:3901",
                "zone": f"host-{i}",
                "capacity": capacity,
            }
            for i, server in enumerate(self.servers)
        ]
        return {"nodes": nodes, "buckets": {"models": "workloads"}}

    def close(self) -> None:
        """Ends the servers."""
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def get(self, endpoint: str, query: dict[str, str], node: str) -> Any:
        """A question."""
        match endpoint:
            case "GetNodeInfo":
                return {"success": {node: {"nodeId": node}}, "error": {}}
            case "GetClusterStatus":
                return {"nodes": [{"id": one, "isUp": True} for one in sorted(self.connected)]}
            case "GetClusterHealth":
                return {"status": "healthy" if self.roles else "unavailable"}
            case "GetClusterLayout":
                roles = [{"id": identity, "tags": []} | role for identity, role in self.roles.items()]
                return {"version": self.version, "roles": roles, "stagedRoleChanges": self.staged}
            case "GetKeyInfo" if query["id"] in self.keys:
                return self.keys[query["id"]]
            case "GetBucketInfo" if query["globalAlias"] in self.buckets:
                name = query["globalAlias"]
                granted = [{"accessKeyId": key, "permissions": what} for key, what in self.buckets[name].items()]
                return {"id": f"id of {name}", "keys": granted}
        raise NotFound

    def post(self, endpoint: str, body: Any) -> Any:
        """A change."""
        self.writes.append(endpoint)
        match endpoint:
            case "ConnectClusterNodes":
                self.connected |= {peer.partition("@")[0] for peer in body}
                return [{"success": True, "error": None} for _ in body]
            case "RevertClusterLayout":
                self.staged = []
            case "UpdateClusterLayout":
                self.staged += body["roles"]
            case "ApplyClusterLayout":
                assert body["version"] == self.version + 1
                for change in self.staged:
                    self.roles.pop(change["id"], None)
                    if not change.get("remove"):
                        self.roles[change["id"]] = {"zone": change["zone"], "capacity": change["capacity"]}
                self.staged, self.version = [], body["version"]
            case "ImportKey":
                self.keys[body["accessKeyId"]] = {"secretAccessKey": body["secretAccessKey"], "name": body["name"]}
            case "CreateBucket":
                self.buckets[body["globalAlias"]] = {}
                return {"id": f"id of {body['globalAlias']}", "keys": []}
            case "AllowBucketKey" | "DenyBucketKey":
                none = {"read": False, "write": False, "owner": False}
                grants = self.buckets[body["bucketId"].removeprefix("id of ")]
                grant = grants.setdefault(body["accessKeyId"], none)
                grant |= {what: endpoint == "AllowBucketKey" for what in body["permissions"]}
        return {}


def _handler(garage: Garage, node: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            self.answer(lambda endpoint: garage.get(endpoint, query, node))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(lambda endpoint: garage.post(endpoint, body))

        def answer(self, call: Any) -> None:
            status, text = 200, "null"
            try:
                assert self.headers["Authorization"] == f"Bearer {TOKEN}"
                text = json.dumps(call(urlsplit(self.path).path.removeprefix("/v2/")))
            except NotFound:
                status, text = 404, "not found"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
