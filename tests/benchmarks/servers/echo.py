"""The upstream of WebSockets: what comes goes back, for as little time as possible.

Run as `python -m tests.benchmarks.servers.echo HOST PORT`. A server's half of RFC 6455
as far as the benchmark's clients and the candidates need it: unfragmented messages of
at most 125 bytes. Anything else breaks the connection off.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import sys
from typing import Final

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY: Final = re.compile(rb"^sec-websocket-key:[ \t]*(\S+)[ \t]*\r$", re.I | re.M)
LONGEST: Final = 125
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A


class Connection(asyncio.Protocol):
    """One client connection: the handshake, then frames."""

    def __init__(self) -> None:
        self._opened = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data, self._rest = self._rest + data, b""
        if not self._opened:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            self._open(head + b"\r\n")
        if data:
            self._take(data)

    def _open(self, head: bytes) -> None:
        key = KEY.search(head)
        if key is None:
            self._transport.write(
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
            )
            return
        self._opened = True
        token = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())  # noqa: S324
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % token
        )

    def _take(self, data: bytes) -> None:
        begin = 0
        while len(data) >= begin + 6:
            first, size = data[begin], data[begin + 1] & 127
            end = begin + 6 + size
            if size > LONGEST:
                self._transport.abort()
                return
            if len(data) < end:
                break
            self._answer(first, data[begin + 2 : begin + 6], data[begin + 6 : end])
            begin = end
        self._rest = data[begin:]

    def _answer(self, first: int, mask: bytes, masked: bytes) -> None:
        if first == PONG:
            return
        size = len(masked)
        whole = (mask * 32)[:size]
        plain = int.from_bytes(masked) ^ int.from_bytes(whole)
        first = PONG if first == PING else first
        self._transport.write(bytes((first, size)) + plain.to_bytes(size))
        if first == CLOSE:
            self._transport.close()


async def serve(host: str, port: int) -> None:
    """Listen until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, host, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
