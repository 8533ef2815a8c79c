"""A client that asks all the time, and so measures outages where they matter."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit


@dataclass
class Poller:
    """Asks `url` every `interval` seconds over fresh connections, each allowed `timeout` seconds, until left.

    With a `body`, which is JSON, it posts.

    A request counts as answered when its status is in `good`. An outage runs from the end of the last answered request
    to the end of the next one, less the interval.
    """

    url: str
    interval: float = 0.02
    timeout: float = 0.25
    good: frozenset[int] = frozenset({200})
    body: str = ""
    answered: int = 0
    failed: int = 0
    longest: float = 0.0
    codes: dict[str, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Poller:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            outcome = self._ask()
            self.codes[outcome] = self.codes.get(outcome, 0) + 1
            now = time.monotonic()
            if outcome.isdigit() and int(outcome) in self.good:
                self.answered += 1
                self.longest = max(self.longest, now - last - self.interval)
                last = now
            else:
                self.failed += 1
            self._stop.wait(self.interval)
        self.longest = max(self.longest, time.monotonic() - last - self.interval)

    def _ask(self) -> str:
        """The HTTP status of one GET, or the name of what went wrong."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        try:
            with socket.create_connection((parts.hostname, parts.port or 80), timeout=self.timeout) as plain:
                sock: socket.socket = plain
                if parts.scheme == "https":
                    # The poller asks whether the address answers; who answers is checked by kubectl.
                    context = ssl._create_unverified_context()
                    sock = context.wrap_socket(plain, server_hostname=parts.hostname)
                head = [f"{'POST' if self.body else 'GET'} {parts.path} HTTP/1.1", f"Host: {parts.netloc}"]
                if self.body:
                    head += ["Content-Type: application/json", f"Content-Length: {len(self.body.encode())}"]
                sock.sendall("\r\n".join([*head, "Connection: close", "", self.body]).encode())
                return sock.recv(64).decode(errors="replace").split(" ")[1]
        except (OSError, IndexError) as fault:
            return type(fault).__name__
