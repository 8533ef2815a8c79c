"""POST /v2/models/{name}[/versions/{version}]/infer, as middleware before the routes.

Routing, dependency injection and response objects would cost more than the model does (25 us). So this speaks ASGI
directly, and everything else goes on to FastAPI.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from isthmus_inference import metrics
from isthmus_inference.contract import Rejected, read_request
from isthmus_inference.model import Model
from isthmus_inference.settings import Settings
from isthmus_inference.watch import Serving

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
logger = logging.getLogger("isthmus.infer")
encode = msgspec.json.Encoder().encode


class Gone(Exception):
    """The client hung up."""


class InferPath:
    """Answers infer requests and hands every other one on."""

    def __init__(self, app: Callable[..., Awaitable[None]], serving: Serving, settings: Settings) -> None:
        self.app, self.serving, self.settings = app, serving, settings
        self.count = {status: metrics.REQUESTS.labels(status) for status in (200, 400, 404, 405, 408, 413, 500, 503)}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or not scope["path"].endswith("/infer")
            or not scope["path"].startswith("/v2/models/")
        ):
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        metrics.IN_FLIGHT.inc()
        try:
            status, body = await self.answer(scope, receive)
            if status == 413:
                await self.refuse_while_reading(receive, send, body)
            else:
                await respond(send, status, body, close=self.serving.draining or status == 408)
        except Gone:
            return
        finally:
            metrics.IN_FLIGHT.dec()
        self.count[status].inc()
        metrics.SECONDS.observe(time.perf_counter() - began)

    async def answer(self, scope: MutableMapping[str, Any], receive: Receive) -> tuple[int, bytes]:
        """Status and body; whatever goes wrong is an answer, too."""
        try:
            if scope["method"] != "POST":
                raise Rejected(f"{scope['method']} is not for this path; use POST", 405)
            model = self.model(scope["path"])
            request = read_request(await self.read(scope, receive))
            result, samples = model.infer(request)
            metrics.SAMPLES.inc(samples)
            return 200, encode(result)
        except Rejected as fault:
            return fault.status, encode({"error": fault.reason})
        except Gone:
            raise
        except Exception:
            logger.exception("an infer request failed")
            return 500, encode({"error": "the server failed on this request; its log says why"})

    async def refuse_while_reading(self, receive: Receive, send: Send, body: bytes) -> None:
        """Answers 413 and throws the rest of the body away before it closes.

        A close with unread bytes resets the connection, and a reset takes the answer away from a client that is
        still sending.
        """
        await send(start(413, len(body), close=True))
        await send({"type": "http.response.body", "body": body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.body_seconds):
                while (await receive()).get("more_body"):
                    pass
        await send({"type": "http.response.body", "body": b""})

    def model(self, path: str) -> Model:
        """The model that a path names; Rejected when it is not served."""
        model = self.serving.model
        match path.split("/")[3:]:
            case [name, "infer"]:
                version = None
            case [name, "versions", version, "infer"]:
                pass
            case _:
                raise Rejected("no such path; use /v2/models/{name}/infer", 404)
        if name != self.settings.model:
            raise Rejected(f"model {name[:80]!r} is not served here; {self.settings.model!r} is", 404)
        if model is None:
            raise Rejected(f"model {name!r} is not loaded yet", 503)
        if version is not None and version != model.version:
            raise Rejected(f"version {version[:80]!r} is not served; {model.version!r} is", 404)
        return model

    async def read(self, scope: MutableMapping[str, Any], receive: Receive) -> bytes:
        """The body; Rejected when it is too big or too slow."""
        limit = self.settings.max_body_bytes
        for key, value in scope["headers"]:
            if key == b"content-length" and int(value) > limit:  # the HTTP parser refuses one that is no number
                raise Rejected(
                    f"the body has {int(value)} bytes; at most {limit} are taken: send fewer samples at once", 413
                )
            if key == b"content-encoding" and value != b"identity":
                raise Rejected("Content-Encoding: send the body as it is, uncompressed")
            if key == b"inference-header-content-length":
                raise Rejected("Inference-Header-Content-Length: binary tensors are not taken, send JSON")
        message = await receive()
        if not message.get("more_body") and message["type"] == "http.request":  # nearly always: it came in one piece
            return message["body"]
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                while True:
                    if message["type"] == "http.disconnect":
                        raise Gone
                    parts.append(message["body"])
                    size += len(parts[-1])
                    if size > limit:
                        raise Rejected(f"the body has more than {limit} bytes: send fewer samples at once", 413)
                    if not message.get("more_body"):
                        return b"".join(parts)
                    message = await receive()
        except TimeoutError:
            raise Rejected(f"the body did not come within {self.settings.body_seconds:g} s", 408) from None


async def respond(send: Send, status: int, body: bytes, *, close: bool) -> None:
    """Sends an answer; `close` asks the client to take another connection, since this one or this server goes away."""
    await send(start(status, len(body), close=close))
    await send({"type": "http.response.body", "body": body})


def start(status: int, length: int, *, close: bool) -> dict[str, Any]:
    """The message that begins an answer of `length` bytes."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % length)]
    if close:
        headers.append((b"connection", b"close"))
    return {"type": "http.response.start", "status": status, "headers": headers}
