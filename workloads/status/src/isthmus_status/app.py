"""The routes. Nothing can be changed by them, and no request waits for a source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from isthmus_status import page
from isthmus_status.models import Site
from isthmus_status.settings import Settings
from isthmus_status.sources import Sources, authority
from isthmus_status.watch import Watcher

HEADERS = {
    # Nothing but the page's own style: whatever a source says, nothing is run or loaded.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def build(settings: Settings, transport: httpx.AsyncBaseTransport | None = None) -> FastAPI:
    """The application; it looks at its sources for as long as it runs. `transport` stands for the network in tests."""
    client = httpx.AsyncClient(
        verify=authority(settings),
        timeout=settings.timeout_seconds,
        # Connections outlive the time between two looks: most of a look would be handshakes.
        limits=httpx.Limits(keepalive_expiry=2 * settings.refresh_seconds),
        trust_env=False,  # no proxy that the environment may name
        transport=transport,
    )
    watcher = Watcher(settings, Sources(settings, client))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            watching = asyncio.create_task(watcher.run())
            yield
            watching.cancel()

    # No pages of documentation: they would load scripts from the internet.
    app = FastAPI(title="Isthmus status", docs_url=None, redoc_url=None, lifespan=lifespan)

    @app.middleware("http")
    async def guarded(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/", response_class=HTMLResponse)
    async def html() -> str:
        return page.render(
            watcher.site,
            watcher.peer,
            peer_url=settings.peer_url or "",
            refresh_seconds=settings.refresh_seconds,
        )

    @app.get("/style.css")
    async def style() -> Response:
        return Response(page.STYLE, media_type="text/css")

    @app.get("/api/site")
    async def site() -> Site:
        return watcher.site

    @app.get("/health/live")
    async def live() -> JSONResponse:
        return JSONResponse({"live": watcher.alive}, 200 if watcher.alive else 503)

    @app.get("/health/ready")
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": watcher.ready}, 200 if watcher.ready else 503)

    return app
