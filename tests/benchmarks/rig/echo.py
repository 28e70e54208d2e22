"""Clients that send a message, wait for its echo, and send it again.

On raw sockets and epoll, the one frame they send masked beforehand: a round trip costs
them some microseconds, so that what is measured is the server.
"""

from __future__ import annotations

import os
import select
import socket
import time
from dataclasses import dataclass
from typing import Final, Self

from ..servers import wire
from .processes import Server, ServerError
from .wrk import OTHERS_AT_MOST, busy_seconds

MESSAGE: Final = b'{"type": "audio", "data": "' + b"b3VuZA" * 16 + b'"}'
#: Text, unfragmented, 125 bytes: the longest whose length is in the second byte.
SENT: Final = bytes((0x81, 0x80 | len(MESSAGE)))
MASK: Final = b"\x37\xfa\x21\x3d"
PATIENCE: Final = 20.0
#: Sockets opened at once; more overflow nothing, but open no sooner.
BATCH: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the clients saw of one load, and what the server spent on it."""

    round_trips: int
    seconds: float
    cpu_seconds: float
    p99_ms: float
    disturbed: bool


class Clients:
    """So many WebSockets to one server, each answered once when it is opened."""

    def __init__(self, server: Server, path: str, count: int) -> None:
        self._server = server
        self._request = _request(server.port, path)
        self._count = count
        self._sockets: dict[int, socket.socket] = {}

    def __enter__(self) -> Self:
        try:
            while len(self._sockets) < self._count:
                self._open(min(BATCH, self._count - len(self._sockets)))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close()

    def drive(self, seconds: float) -> Load:
        """Echoes on all of them, for so long and until each is answered.

        Raises:
            ServerError: an echo is not what was sent, or does not come.
        """
        server = self._server
        core = min(os.sched_getaffinity(server.process.pid))
        busy, started = busy_seconds(core), time.perf_counter()
        cpu = server.cpu_seconds()
        waits = self._echoes(started + seconds)
        ended = time.perf_counter()
        spent = server.cpu_seconds() - cpu
        others = busy_seconds(core) - busy - spent
        waits.sort()
        return Load(
            round_trips=len(waits),
            seconds=ended - started,
            cpu_seconds=spent,
            p99_ms=waits[len(waits) * 99 // 100] * 1e3,
            disturbed=others > OTHERS_AT_MOST * (ended - started),
        )

    def _open(self, count: int) -> None:
        opened = []
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", self._server.port), PATIENCE)
            self._sockets[one.fileno()] = one
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.sendall(self._request)
            opened.append(one)
        for one in opened:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                data = one.recv(4096)
                if not data:
                    raise ServerError(f"closed at the handshake: {head[:80]!r}")
                head += data
            status = head.partition(b"\r\n")[0]
            if b" 101 " not in status:
                raise ServerError(f"answered {status!r}")
            one.sendall(FRAME)
        for one in opened:
            if (echo := _exactly(one, len(ECHO))) != ECHO:
                raise ServerError(f"echoed wrongly: {echo[:80]!r}")

    def _echoes(self, until: float) -> list[float]:
        sockets, clock = self._sockets, time.perf_counter
        waits: list[float] = []
        parts: dict[int, bytes] = {}
        sent = dict.fromkeys(sockets, 0.0)
        with select.epoll() as poll:
            for number, one in sockets.items():
                poll.register(number, select.EPOLLIN)
                sent[number] = clock()
                one.sendall(FRAME)
            while sent:
                ready = poll.poll(PATIENCE)
                if not ready:
                    raise self._server.failed(f"{len(sent)} echoes did not come")
                for number, _ in ready:
                    one = sockets[number]
                    data = one.recv(4096)
                    if data != ECHO:
                        data = parts.pop(number, b"") + data
                        if not data or not ECHO.startswith(data):
                            raise ServerError(f"echoed wrongly: {data[:80]!r}")
                        if data != ECHO:
                            parts[number] = data
                            continue
                    now = clock()
                    waits.append(now - sent[number])
                    if now < until:
                        sent[number] = now
                        one.sendall(FRAME)
                    else:
                        del sent[number]
        return waits

    def _close(self) -> None:
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()


def _request(port: int, path: str) -> bytes:
    fields = (
        ("Host", f"127.0.0.1:{port}"),
        *wire.HEADERS,
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    )
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _exactly(one: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = one.recv(size - len(data))
        if not more:
            break
        data += more
    return data


def _masked(data: bytes) -> bytes:
    return bytes(byte ^ MASK[index % 4] for index, byte in enumerate(data))


FRAME: Final = SENT + MASK + _masked(MESSAGE)
ECHO: Final = bytes((0x81, len(MESSAGE))) + MESSAGE
