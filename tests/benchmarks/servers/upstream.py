"""The upstream that nginx cannot be: a sink for uploads, a source of events.

Run as `python -m tests.benchmarks.servers.upstream HOST PORT`. It answers `…/events`
with an endless event stream, a request with a body with the number of bytes it
counted (by length or chunked), and anything else with the small JSON.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import httptools

from . import wire

SLOTS: Final = 20
STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
EVENT_CHUNK: Final = b"%x\r\n%b\r\n" % (len(wire.EVENT), wire.EVENT)


class Streams:
    """Every open event stream, spread over the tenth of a second between events."""

    def __init__(self) -> None:
        self._slots: list[set[asyncio.Transport]] = [set() for _ in range(SLOTS)]
        self._opened = 0

    def add(self, transport: asyncio.Transport) -> None:
        self._slots[self._opened % SLOTS].add(transport)
        self._opened += 1

    def discard(self, transport: asyncio.Transport) -> None:
        for slot in self._slots:
            slot.discard(transport)

    async def emit(self) -> None:
        """Send every stream its events, for ever; late ticks are not skipped."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for slot in self._slots:
                for transport in slot:
                    transport.write(EVENT_CHUNK)
                due += 1 / wire.EVENTS_PER_SECOND / SLOTS
                await asyncio.sleep(max(0.0, due - loop.time()))


class Connection(asyncio.BufferedProtocol):
    """One client connection; bytes are received into one buffer for all."""

    _buffer = memoryview(bytearray(256 * 1024))

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._streams.discard(self._transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._parser.feed_data(self._buffer[:nbytes])

    def on_message_begin(self) -> None:
        self._target, self._received = b"", 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_body(self, body: bytes) -> None:
        self._received += len(body)

    def on_message_complete(self) -> None:
        if self._target.endswith(wire.EVENTS.encode()):
            self._transport.write(STREAM_HEAD)
            self._streams.add(self._transport)
            return
        body = b'{"received": %d}' % self._received if self._received else wire.BODY
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )


async def serve(host: str, port: int) -> None:
    """Listen until the process is ended."""
    streams = Streams()
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: Connection(streams), host, port, backlog=1024)
    await streams.emit()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
