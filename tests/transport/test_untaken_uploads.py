"""Sessions that answer and do not take all of an upload, on asyncio: of the last of it,
which only the event loop still holds, nothing may hang."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

from session_proxy_middleware import Timeouts
from session_proxy_middleware.upstream.aio import AsyncHTTP11Transport, Engine
from tests.transport.bodies import whole_of
from tests.transport.requests import post, session_at
from tests.transport.servers import LINGER_OFF, ok

LARGE = 8 << 20
"""Bytes: more than the system's buffers take."""


class Pieces:
    """An upload of these pieces; before one that is a number of seconds it waits."""

    def __init__(self, *pieces: bytes | float) -> None:
        self._left = list(pieces)

    @property
    def ended(self) -> bool:
        return not self._left

    async def read(self) -> bytes:
        piece = self._left.pop(0)
        if isinstance(piece, bytes):
            return piece
        await asyncio.sleep(piece)
        return await self.read()


class Play:
    """A session on a socket of its own, in the test's loop."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.at = session_at(f"http://127.0.0.1:{self.listener.getsockname()[1]}")

    async def asked(self) -> socket.socket:
        """A connection, once the head of a request has come on it."""
        loop = asyncio.get_running_loop()
        sock, _ = await loop.sock_accept(self.listener)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await loop.sock_recv(sock, 1)
        return sock

    async def taken(self, sock: socket.socket) -> int:
        """How much more comes, until the connection ends."""
        count = 0
        try:
            while some := await asyncio.get_running_loop().sock_recv(sock, 1 << 20):
                count += len(some)
        except ConnectionResetError:
            pass
        return count


def kept(transport: AsyncHTTP11Transport) -> int:
    """Connections that the next request may be sent on."""
    engine = transport.here()
    assert isinstance(engine, Engine)
    return len(engine.pool)


def run(
    scenario: Callable[[Play, AsyncHTTP11Transport], Awaitable[None]], idle: float
) -> None:
    async def play() -> None:
        session = Play()
        transport = AsyncHTTP11Transport(timeouts=Timeouts(response=5, idle=idle))
        with session.listener:
            async with asyncio.timeout(10):
                await scenario(session, transport)
            await transport.aclose()

    asyncio.run(play())


def test_a_connection_whose_request_was_not_taken_whole_is_closed() -> None:
    async def scenario(session: Play, transport: AsyncHTTP11Transport) -> None:
        async def answer() -> int:
            loop = asyncio.get_running_loop()
            with await session.asked() as sock:
                await asyncio.sleep(0.1)
                await loop.sock_sendall(sock, ok())
                await asyncio.sleep(0.3)
                return await session.taken(sock)

        answering = asyncio.create_task(answer())
        response = await transport.asend(post(session.at, LARGE), Pieces(bytes(LARGE)))
        assert await whole_of(response) == b"ok"
        assert kept(transport) == 0
        assert await answering < LARGE

    run(scenario, 5)


def test_the_end_of_an_answer_is_seen_while_the_upload_is_held_up() -> None:
    async def scenario(session: Play, transport: AsyncHTTP11Transport) -> None:
        async def answer() -> None:
            loop = asyncio.get_running_loop()
            with await session.asked() as sock:
                await asyncio.sleep(0.2)
                await loop.sock_sendall(sock, b"HTTP/1.1 413 No\r\n\r\ntoo large")
                sock.shutdown(socket.SHUT_WR)
                await done.wait()

        done = asyncio.Event()
        answering = asyncio.create_task(answer())
        started = time.monotonic()
        pieces = [bytes(1 << 20)] * 64
        response = await transport.asend(post(session.at, 64 << 20), Pieces(*pieces))
        assert await whole_of(response) == b"too large"
        assert time.monotonic() - started < 4
        done.set()
        await answering

    run(scenario, 8)


def test_the_end_of_an_upload_is_a_sign_of_life() -> None:
    async def scenario(session: Play, transport: AsyncHTTP11Transport) -> None:
        async def answer() -> None:
            loop = asyncio.get_running_loop()
            with await session.asked() as sock:
                head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                await loop.sock_sendall(sock, head + b"2\r\nok\r\n")
                while not (await loop.sock_recv(sock, 100)).endswith(b"0\r\n\r\n"):
                    pass
                await asyncio.sleep(0.5)
                await loop.sock_sendall(sock, b"0\r\n\r\n")

        answering = asyncio.create_task(answer())
        upload = Pieces(b"", 0.1, b"data", 0.8, b"")
        response = await transport.asend(post(session.at, None), upload)
        assert await whole_of(response) == b"ok"
        await answering

    run(scenario, 1)


def test_a_connection_that_was_reset_right_after_its_answer_is_not_kept() -> None:
    """The last of the upload is written before the loop has seen either."""

    async def scenario(session: Play, transport: AsyncHTTP11Transport) -> None:
        async def answer() -> None:
            loop = asyncio.get_running_loop()
            sock = await session.asked()
            await loop.sock_sendall(sock, ok())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_OFF)
            reset.append(sock)

        reset: list[socket.socket] = []
        answering = asyncio.create_task(answer())

        class Last(Pieces):
            async def read(self) -> bytes:
                if len(self._left) == 1:
                    await answering
                    reset[0].close()
                return await super().read()

        upload = Last(bytes(8000), bytes(8000))
        response = await transport.asend(post(session.at, 16_000), upload)
        assert await whole_of(response) == b"ok"
        await asyncio.sleep(0.05)
        assert kept(transport) == 0

    run(scenario, 5)
