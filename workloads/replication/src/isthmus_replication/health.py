"""GET /healthz and /metrics, from a thread beside the work: a page must be answered while a model is on its way."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

STUCK_SECONDS = 180  # beyond the poll interval; each request to a store ends within 120


class Health:
    """Whether work goes on. A cut link is no illness: a restart would not heal it, and would lose what came so far."""

    def __init__(self, poll_seconds: float) -> None:
        self.limit = poll_seconds + STUCK_SECONDS
        self.alive()

    def alive(self) -> None:
        """Called at each sign of progress."""
        self.seen = time.monotonic()

    def answer(self) -> tuple[int, str]:
        """Status and text of /healthz."""
        silent = time.monotonic() - self.seen
        return (200, "ok\n") if silent < self.limit else (503, f"no sign of work for {silent:.0f} s\n")


def serve(host: str, port: int, health: Health) -> ThreadingHTTPServer:
    """Starts the server, which ends with the process."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # a client that says nothing holds no thread for ever
        server_version, sys_version = "isthmus-replication", ""

        def do_GET(self) -> None:
            if self.path == "/healthz":
                status, body = health.answer()
                self.reply(status, body.encode(), "text/plain; charset=utf-8")
            elif self.path == "/metrics":
                self.reply(200, generate_latest(), CONTENT_TYPE_LATEST)
            else:
                self.reply(404, b"there are /healthz and /metrics\n", "text/plain; charset=utf-8")

        def reply(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """A line for each probe would say nothing."""

    server = ThreadingHTTPServer((host, port), Handler)
    # The interval is how often it would look for a `shutdown`, which is never called.
    threading.Thread(target=server.serve_forever, args=[3600], name="health", daemon=True).start()
    return server
