"""A bare ASGI application that answers itself what the others fetch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from . import wire

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CHUNK = bytes(64 * 1024)
JSON_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(wire.BODY)).encode()),
]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer by the last segment of the path; anything else is the small JSON."""
    if scope["type"] == "websocket":
        return await _socket(receive, send)
    if scope["type"] != "http":
        return await _lifespan(receive, send)
    tail = scope["path"].rpartition("/")[2]
    await _ANSWERS.get(tail, _chat)(scope, receive, send)


async def _chat(scope: Message, receive: Receive, send: Send) -> None:
    if scope["method"] == "POST":
        await _drained(receive)
    await _start(send, JSON_HEADERS)
    await send({"type": "http.response.body", "body": wire.BODY})


async def _upload(scope: Message, receive: Receive, send: Send) -> None:
    body = b'{"received": %d}' % await _drained(receive)
    await _start(send, [(b"content-length", str(len(body)).encode())])
    await send({"type": "http.response.body", "body": body})


async def _blob(scope: Message, receive: Receive, send: Send) -> None:
    await _start(send, [(b"content-length", str(wire.BLOB_BYTES).encode())])
    chunk = {"type": "http.response.body", "body": CHUNK, "more_body": True}
    for _ in range(wire.BLOB_BYTES // len(CHUNK)):
        await send(chunk)
    await send({"type": "http.response.body", "body": b""})


async def _events(scope: Message, receive: Receive, send: Send) -> None:
    await _start(send, [(b"content-type", b"text/event-stream")])
    leaving = asyncio.ensure_future(_departure(receive))
    while not leaving.done():
        body = {"type": "http.response.body", "body": wire.EVENT, "more_body": True}
        await send(body)
        await asyncio.sleep(1 / wire.EVENTS_PER_SECOND)


async def _socket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _drained(receive: Receive) -> int:
    total, more = 0, True
    while more:
        message = await receive()
        total += len(message.get("body", b""))
        more = message.get("more_body", False)
    return total


async def _start(send: Send, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


_ANSWERS = {wire.UPLOAD: _upload, wire.BLOB: _blob, wire.EVENTS: _events}
