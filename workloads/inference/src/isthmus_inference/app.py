"""The routes around infer: health, metadata, metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException

from isthmus_inference import metrics
from isthmus_inference.infer import InferPath
from isthmus_inference.model import Model
from isthmus_inference.settings import Settings
from isthmus_inference.watch import Serving, Watcher

SERVER = {"name": "isthmus-inference", "version": "0.1.0", "extensions": []}


def build(settings: Settings, serving: Serving) -> FastAPI:
    """The application; it follows the alias for as long as it runs."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(Watcher(settings, serving).run())
        yield
        watching.cancel()

    # No pages of documentation: they would load scripts from the internet.
    app = FastAPI(title="Isthmus inference", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(InferPath, serving=serving, settings=settings)

    @app.exception_handler(StarletteHTTPException)
    async def refuse(_: Request, fault: StarletteHTTPException) -> JSONResponse:
        """Errors in the protocol's form."""
        return JSONResponse({"error": fault.detail}, fault.status_code, headers=fault.headers)

    def served(name: str, version: str | None = None) -> Model:
        if name != settings.model:
            raise HTTPException(404, f"model {name[:80]!r} is not served here; {settings.model!r} is")
        if serving.model is None:
            raise HTTPException(503, f"model {name!r} is not loaded yet")
        if version is not None and version != serving.model.version:
            raise HTTPException(404, f"version {version[:80]!r} is not served; {serving.model.version!r} is")
        return serving.model

    @app.get("/v2")
    async def server() -> dict[str, Any]:
        return SERVER

    @app.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready")
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": serving.ready}, 200 if serving.ready else 503)

    @app.get("/v2/models/{name}")
    @app.get("/v2/models/{name}/versions/{version}")
    async def model(name: str, version: str | None = None) -> dict[str, Any]:
        return served(name, version).metadata()

    @app.get("/v2/models/{name}/ready")
    @app.get("/v2/models/{name}/versions/{version}/ready")
    async def model_ready(name: str, version: str | None = None) -> JSONResponse:
        served(name, version)
        return JSONResponse({"name": name, "ready": serving.ready}, 200 if serving.ready else 503)

    @app.get("/metrics")
    async def numbers() -> Response:
        metrics.READY.set(serving.ready)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app
