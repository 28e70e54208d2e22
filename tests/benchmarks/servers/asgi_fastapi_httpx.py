"""The route people write by hand: FastAPI and one shared httpx client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from . import wire

UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=None)
ORIGINS = {
    wire.session_id(index): wire.origin(index) for index in range(wire.sessions())
}
NOT_FORWARDED = {"host", "connection", "keep-alive", "authorization"}
NOT_RETURNED = {"connection", "keep-alive", "transfer-encoding", "server", "date"}

client = httpx.AsyncClient(limits=UNLIMITED, timeout=60.0, follow_redirects=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Close the client with the application."""
    async with client:
        yield


app = FastAPI(lifespan=lifespan)


@app.api_route("/{service}/sessions/{session}/{path:path}", methods=["GET", "POST"])
async def forward(
    request: Request, service: str, session: str, path: str
) -> StreamingResponse:
    """Stream the request to the session and its response back."""
    outbound = client.build_request(
        request.method,
        f"{ORIGINS[session]}/{path}",
        params=request.query_params,
        headers=[
            (name, value)
            for name, value in request.headers.items()
            if name not in NOT_FORWARDED
        ],
        content=request.stream() if request.method == "POST" else None,
    )
    response = await client.send(outbound, stream=True)
    return StreamingResponse(
        response.aiter_raw(),
        status_code=response.status_code,
        headers={
            name: value
            for name, value in response.headers.items()
            if name not in NOT_RETURNED
        },
        background=BackgroundTask(response.aclose),
    )
