"""What happens when two things happen in one turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from session_proxy_middleware import Session, Timeouts
from session_proxy_middleware.upstream.aio import AsyncHTTP11Transport
from session_proxy_middleware.upstream.connection import Connection
from session_proxy_middleware.upstream.pool import Pool, PoolKey
from tests.transport.bodies import whole_of
from tests.transport.requests import get, post, session_at

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(play: Play) -> AsyncIterator[Session]:
    """A session that plays this on each connection."""
    server = await asyncio.start_server(play, "127.0.0.1", 0)
    async with server:
        yield session_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


@asynccontextmanager
async def answering() -> AsyncIterator[Session]:
    """A session that answers every request with its path."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(path))
            writer.write(path)

    async def quietly(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        closed = asyncio.get_running_loop().create_future()
        connections.append(closed)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            closed.set_result(None)

    connections: list[asyncio.Future[None]] = []
    async with serving(quietly) as session:
        yield session
        await asyncio.wait_for(asyncio.gather(*connections), 5)


def test_a_request_cancelled_as_it_completes_leaves_the_next_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> bytes:
        go = asyncio.get_running_loop().create_future()
        give = Pool.give

        def give_and_cancel(
            pool: Pool[Connection], key: PoolKey, connection: Connection, now: float
        ) -> None:
            give(pool, key, connection, now)
            monkeypatch.setattr(Pool, "give", give)
            go.set_result(None)  # The second is woken first, and takes the connection.
            first.cancel()

        monkeypatch.setattr(Pool, "give", give_and_cancel)
        async with answering() as session:
            transport = AsyncHTTP11Transport()

            async def send_second() -> bytes:
                await go
                return await whole_of(
                    await transport.asend(get(session, b"/two"), None)
                )

            second = asyncio.create_task(send_second())
            first = asyncio.create_task(transport.asend(get(session, b"/one"), None))
            with pytest.raises(asyncio.CancelledError):
                await first
            answer = await asyncio.wait_for(second, 5)
            await transport.aclose()
            return answer

    assert asyncio.run(scenario()) == b"/two"


class Piece:
    """An upload of one piece, for which somebody waits until it is told."""

    def __init__(self) -> None:
        self.ended = False
        self.come: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def read(self) -> bytes:
        data = await self.come
        self.ended = True
        return data


def test_a_piece_that_is_waited_for_survives_an_early_answer() -> None:
    """granian's `receive` loses what it was about to give when it is cancelled."""

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        writer.write(await reader.readexactly(5))
        writer.close()

    async def scenario() -> bytes:
        transport = AsyncHTTP11Transport()
        upload = Piece()
        async with serving(early) as session, asyncio.timeout(10):
            response = await transport.asend(post(session, 5), upload)
            assert not upload.come.cancelled()
            upload.come.set_result(b"hello")
            data = await whole_of(response)
            await transport.aclose()
        return data

    assert asyncio.run(scenario()) == b"hello"


IDLE = 0.3


class Held:
    """An upload that goes on until nobody has asked for more for a time, and then only
    once the session has taken all that was given."""

    def __init__(self, session: Reader) -> None:
        self.ended = False
        self.given = 0
        self._session = session
        self._last = monotonic()

    async def read(self) -> bytes:
        if monotonic() - self._last > IDLE:
            self._session.wanted = self.given
            self._session.go_on.set()
            await self._session.got_it.wait()
            self.ended = True
        self._last = monotonic()
        self.given += 65_536
        return bytes(65_536)


class Reader:
    """A session that answers on and on, and takes the upload once it is told."""

    def __init__(self) -> None:
        self.go_on, self.got_it = asyncio.Event(), asyncio.Event()
        self.taken = self.wanted = 0
        self.whole = False

    async def __call__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        talk = asyncio.create_task(self._talk(writer))
        await self.go_on.wait()
        while not self.whole:
            size = int(await reader.readuntil(b"\r\n"), 16)
            await reader.readexactly(size + 2)
            self.taken += size
            if self.taken == self.wanted:
                self.got_it.set()
            self.whole = not size
        talk.cancel()
        writer.write(b"0\r\n\r\n")
        writer.close()

    async def _talk(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"4\r\ntick\r\n")
            await asyncio.sleep(IDLE / 6)


def test_an_upload_is_only_given_up_once_some_of_it_is_lost() -> None:
    """The session takes it again after too long, before the client has sent more."""

    async def scenario() -> tuple[bool, int, int]:
        played = Reader()
        transport = AsyncHTTP11Transport(timeouts=Timeouts(idle=IDLE))
        upload = Held(played)
        async with serving(played) as session, asyncio.timeout(10):
            response = await transport.asend(post(session, None), upload)
            await whole_of(response)
            await transport.aclose()
        return played.whole, played.taken, upload.given

    whole, taken, given = asyncio.run(scenario())
    assert whole
    assert taken == given
