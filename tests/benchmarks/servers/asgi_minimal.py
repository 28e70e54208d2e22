"""The floor under ASGI: see `minimal`."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict

from httptools import HttpResponseParser

from . import asgi_bare, minimal

PORT = int(os.environ["BENCHMARK_UPSTREAM_PORT"])

buffer = memoryview(bytearray(minimal.BUFFER))
idle: defaultdict[str, list[Connection]] = defaultdict(list)


class Connection(asyncio.BufferedProtocol):
    """A kept connection; what it answers with is set on a future."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.write = transport.write

    def get_buffer(self, sizehint: int) -> memoryview:
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.parser.feed_data(buffer[:nbytes])
        if self.response.complete:
            self.answered.set_result(self.response)

    def send(self, head: bytes) -> asyncio.Future[minimal.Response]:
        """Send a request; awaited, gives its response."""
        self.response = minimal.Response()
        self.parser = HttpResponseParser(self.response)
        self.answered: asyncio.Future[minimal.Response] = (
            asyncio.get_running_loop().create_future()
        )
        self.write(head)
        return self.answered


async def app(
    scope: asgi_bare.Message, receive: asgi_bare.Receive, send: asgi_bare.Send
) -> None:
    """Forward a GET without a body."""
    if scope["type"] != "http":
        return await asgi_bare.app(scope, receive, send)
    address, target = minimal.routed(scope["path"])
    head = minimal.encoded(target, scope["headers"])
    if idle[address]:
        connection = idle[address].pop()
    else:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, address, PORT)
    response = await connection.send(head)
    idle[address].append(connection)
    await send(
        {"type": "http.response.start", "status": 200, "headers": response.headers}
    )
    await send({"type": "http.response.body", "body": b"".join(response.pieces)})
