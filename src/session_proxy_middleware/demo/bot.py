"""A bot as one would run it on Pipecat's base image, without the voice.

There `app` comes from `pipecatcloud_system` and the platform's own routes are on it
already: `/bot` starts the session and `/readyz` tells that the server is up. Here
they stand at the end of the file. Everything between is what a bot adds for the
people who talk to it while it runs.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Header, HTTPException, Request, Response, WebSocket
from fastapi.responses import StreamingResponse

app = FastAPI(title="A bot")

EVENTS = 5
EVENTS_APART = 0.1
"""Seconds."""
RECORDING = bytes(range(256)) * 256
"""64 KiB of what could be sound."""
RECORDING_PIECES = 64

conversation: list[dict[str, Any]] = []
peers: set[str] = set()


@app.get("/status")
async def status(x_daily_session_id: str = Header()) -> dict[str, Any]:
    """The bot learns from a header which session it is."""
    return {
        "status": "running",
        "session_id": x_daily_session_id,
        "messages": len(conversation),
    }


@app.post("/speak", status_code=201)
async def speak(message: dict[str, Any]) -> dict[str, Any]:
    """Say something."""
    conversation.append({"role": "assistant", "content": message["text"]})
    return {"said": message["text"], "messages": len(conversation)}


@app.get("/context")
async def context() -> list[dict[str, Any]]:
    """What was said so far."""
    return conversation


@app.delete("/context")
async def forget() -> Response:
    """Begin again."""
    conversation.clear()
    return Response(status_code=204)


@app.post("/api/offer")
async def offer(offered: dict[str, Any]) -> dict[str, Any]:
    """The first step of a WebRTC connection: an offer gets an answer."""
    peer = offered.get("pc_id") or f"peer-{len(peers) + 1}"
    peers.add(peer)
    return {"type": "answer", "sdp": offered["sdp"], "pc_id": peer}


@app.patch("/api/offer")
async def candidates(found: dict[str, Any]) -> dict[str, str]:
    """The second step: ways to reach the other side."""
    if found["pc_id"] not in peers:
        raise HTTPException(404, "Peer connection not found")
    return {"status": "success"}


@app.websocket("/ws")
async def chat(socket: WebSocket) -> None:
    """A conversation, for as long as the WebSocket is open."""
    await socket.accept()
    async for text in socket.iter_text():
        conversation.append({"role": "user", "content": text})
        await socket.send_json({"heard": text, "messages": len(conversation)})


@app.get("/events")
async def events() -> StreamingResponse:
    """Server-sent events, one by one; each tells when it was sent."""

    async def sent() -> AsyncIterator[str]:
        for number in range(1, EVENTS + 1):
            if number > 1:
                await asyncio.sleep(EVENTS_APART)
            event = {"number": number, "sent_at": time.time()}
            yield f"data: {json.dumps(event)}\n\n"

    return StreamingResponse(sent(), media_type="text/event-stream")


@app.api_route("/recording", methods=["GET", "HEAD"])
async def recording(request: Request) -> Response:
    """A few MiB, never whole in memory."""
    headers = {"content-length": str(len(RECORDING) * RECORDING_PIECES)}
    if request.method == "HEAD":
        return Response(media_type="audio/pcm", headers=headers)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(RECORDING_PIECES):
            yield RECORDING

    return StreamingResponse(pieces(), media_type="audio/pcm", headers=headers)


@app.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    """Takes a body of any length as it comes and counts it."""
    received = 0
    async for piece in request.stream():
        received += len(piece)
    return {"received": received}


@app.get("/echo/{path:path}")
async def echo(request: Request) -> dict[str, Any]:
    """The request as it reached the bot."""
    return {
        "path": request.scope["raw_path"].decode("ascii"),
        "query": request.scope["query_string"].decode("ascii"),
        "headers": sorted(name.decode("ascii") for name, _ in request.headers.raw),
    }


@app.post("/bot")
async def bot() -> dict[str, Any]:
    """Starts the session; only the platform may call it."""
    return {}


@app.get("/readyz")
async def ready() -> dict[str, str]:
    """Whether the server is up."""
    return {"status": "ok"}
