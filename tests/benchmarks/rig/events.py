"""Many event streams at once, counted on the client's side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from ..servers import wire
from .processes import Server, ServerError

OPENING_SECONDS: Final = 45.0
#: Streams opened at once; more overflow nothing, but arrive no sooner.
BATCH: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What a number of open streams cost while they ran."""

    events: int
    seconds: float
    cpu_seconds: float
    rss: int


class _Counters:
    def __init__(self) -> None:
        self.events = 0
        self.begun = 0
        self.refused = ""
        self.lost = 0


class _Stream(asyncio.Protocol):
    def __init__(self, counters: _Counters, request: bytes) -> None:
        self._counters = counters
        self._request = request
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        events = data.count(b"data:")
        self._counters.events += events
        if events and not self._begun:
            self._begun = True
            self._counters.begun += 1
        elif not self._begun and b" 200" not in data.split(b"\r\n", 1)[0]:
            self._counters.refused = data.split(b"\r\n", 1)[0].decode("latin-1")

    def connection_lost(self, exc: Exception | None) -> None:
        self._counters.lost += 1


async def stream(
    server: Server, *, path: str, streams: int, settle: float, seconds: float
) -> Streamed:
    """Open so many streams, let them settle, measure, and close them.

    Raises:
        ServerError: a stream was refused, did not begin in time, or broke off.
    """
    counters = _Counters()
    transports: list[asyncio.Transport] = []
    try:
        await _opened(server, path, streams, counters, transports)
        await asyncio.sleep(settle)
        loop = asyncio.get_running_loop()
        events, cpu, started = counters.events, server.cpu_seconds(), loop.time()
        await asyncio.sleep(seconds)
        measured = Streamed(
            events=counters.events - events,
            seconds=loop.time() - started,
            cpu_seconds=server.cpu_seconds() - cpu,
            rss=server.rss(),
        )
        if counters.lost or not measured.events:
            raise server.failed(f"{counters.lost} of {streams} streams broke off")
        return measured
    finally:
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0.5)


async def _opened(
    server: Server,
    path: str,
    streams: int,
    counters: _Counters,
    transports: list[asyncio.Transport],
) -> None:
    loop = asyncio.get_running_loop()
    fields = (("Host", f"127.0.0.1:{server.port}"), *wire.HEADERS)
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n"
    deadline = loop.time() + OPENING_SECONDS
    for wanted in range(BATCH, streams + BATCH, BATCH):
        while len(transports) < min(wanted, streams):
            transport, _ = await loop.create_connection(
                lambda: _Stream(counters, request), "127.0.0.1", server.port
            )
            transports.append(transport)
        while counters.begun < len(transports):
            if counters.refused:
                raise ServerError(f"answered {counters.refused!r}")
            if loop.time() > deadline:
                raise server.failed(f"{counters.begun} of {streams} streams began")
            await asyncio.sleep(0.01)
