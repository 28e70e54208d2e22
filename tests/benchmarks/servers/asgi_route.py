"""The route people write by hand, on a store of sessions: FastAPI and one shared httpx
client. ROUTE_REMEMBERS says whether look-ups are remembered as this package does."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request, Response

from session_proxy_middleware import Caching
from session_proxy_middleware.interfaces import Store
from session_proxy_middleware.stores.cache import CachedStore
from tests.support.cluster import CONTROL, Control, opened

NOT_FORWARDED = {"host", "connection", "keep-alive", "authorization"}
UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=None)


def asgi() -> FastAPI:
    """The application."""
    store = opened()
    control = Control(store)
    sessions: Store = store
    if os.environ["ROUTE_REMEMBERS"] == "1":
        sessions = CachedStore(store, Caching())
    client = httpx.AsyncClient(limits=UNLIMITED, timeout=60.0)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post(CONTROL)
    async def ask(request: Request) -> Response:
        return Response(control.handle(await request.body()))

    @app.api_route("/{service}/sessions/{id}/{path:path}", methods=["GET", "POST"])
    async def forward(request: Request, service: str, id: str, path: str) -> Response:
        session = await sessions.sessions.alookup(service, id)
        if session is None:
            return Response(status_code=404)
        headers = [
            (name, value)
            for name, value in request.headers.items()
            if name not in NOT_FORWARDED
        ]
        answer = await client.request(
            request.method,
            f"{session.upstream}/{path}",
            params=request.query_params,
            headers=[*headers, ("x-daily-session-id", id)],
            content=await request.body(),
        )
        return Response(answer.content, status_code=answer.status_code)

    return app
