"""One connection of the asyncio transport, and the response on it."""

from __future__ import annotations

import asyncio
import os
import select
import ssl
from time import monotonic
from typing import Protocol, cast

from ..errors import (
    RequestTimeout,
    ResponseTruncated,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from ..interfaces import AsyncUpload
from ..models import Outbound
from ..options import Timeouts
from . import h1
from .pool import Pool
from .waiting import own_poll, unconfirmed

RECEIVE_BUFFER = 131_072
"""Bytes. One buffer a loop: fresh ones cost page faults, more than the copy."""

HIGH_WATER = 262_144
"""Bytes of a response waiting for the client before the session is held up."""

MANY_PIECES = 64
"""Pieces waiting before they are made one. As an object of its own a chunk of two bytes
takes sixty, so that a session could have thirty times `HIGH_WATER` kept."""


class StaleConnection(Exception):
    """The connection ended before a byte of the response."""


class Owner(Protocol):
    """What a connection asks of the engine that made it."""

    loop: asyncio.AbstractEventLoop
    timeouts: Timeouts
    buffer: memoryview
    period: float
    pool: Pool[Connection]

    def discard(self, connection: Connection) -> None: ...


class Response(h1.Message):
    """A session's response on the way: an `AsyncResponse`."""

    error: Exception | None = None
    """What broke it off."""
    size = 0
    """Bytes of `pieces`, as they came: with what stood between them."""
    _waiter: asyncio.Future[None] | None = None

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self.pieces = []
        self._loop = loop
        self._connection: Connection | None = connection

    async def read(self) -> bytes:
        """The bytes that are there, or the next that come; none at the end."""
        while not self.pieces:
            if self.error is not None:
                raise self.error
            if self.complete:
                return b""
            await self.change()
        self.size = 0
        if self._connection is not None and self._connection.read_paused:
            self._connection.resume_reading()
        return self.take()

    async def aclose(self) -> None:
        """Break off what is not complete."""
        if self._connection is not None:
            self._connection.abort()

    def release(self, error: Exception | None = None) -> None:
        """The connection has no more to give."""
        self._connection = None
        if error is not None and self.error is None:
            self.error = error
        self.changed()

    def change(self) -> asyncio.Future[None]:
        """Awaited, returns when something has changed."""
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def changed(self) -> None:
        """Whoever waits goes on, in the next turn of the loop: with all others whose
        bytes came in this one, while the caches are warm."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Connection(asyncio.BufferedProtocol):
    """One connection to a session, and the exchange that is on it."""

    __slots__ = (
        "_chunked",
        "_deadline",
        "_head_sent",
        "_holed",
        "_last_moment",
        "_pump",
        "_reader",
        "_response",
        "_sent",
        "_timer",
        "_transport",
        "_unread",
        "_uploaded",
        "_writable",
        "engine",
        "pool_key",
        "read_paused",
        "send",
    )

    def __init__(self, engine: Owner, pool_key: tuple[str, int]) -> None:
        self.engine = engine
        self.pool_key = pool_key
        self._reader = h1.ResponseReader()
        self._transport: asyncio.Transport = _NOT_CONNECTED
        self.send = self._transport.write
        """Sends all of a request without a body."""
        self._response: Response | None = None
        # The request: how much of it is out.
        self._head_sent = self._sent = True
        self._uploaded = False
        self._chunked = False
        self._holed = False
        self._pump: asyncio.Task[None] | None = None
        # Backpressure.
        self._writable: asyncio.Future[None] | None = None
        self.read_paused = False
        # What the kernel has and the loop has not told yet.
        self._unread: select.poll | None = None
        # Time: one timer a connection, which looks at the deadline now and then.
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._last_moment = float("inf")

    # The exchange, seen from the request.

    def begin(self, outbound: Outbound, now: float) -> Response:
        """What comes next on this connection answers `outbound`. `now`: monotonic."""
        engine = self.engine
        response = self._response = Response(self, engine.loop)
        self._reader.begin(response, outbound.method == b"HEAD")
        timeouts = engine.timeouts
        self._deadline = now + timeouts.response
        if timeouts.total is not None:
            self._last_moment = now + timeouts.total
        if self._timer is None:
            self._timer = engine.loop.call_later(engine.period, self._look)
        return response

    def leave(self, response: Response) -> None:
        """Nobody waits for the response any more."""
        # Complete, the connection may carry another request, or wait for one.
        if self._response is response:
            self.abort()

    def send_with_body(
        self, outbound: Outbound, head: bytes, upload: AsyncUpload
    ) -> None:
        """The head at once, the body as it comes: by a task of its own, for nobody may
        stop waiting for a piece. An early answer passes meanwhile, and where a server's
        `receive` is cancelled, what it was about to give can be lost (granian's)."""
        self._head_sent = self._sent = False
        self._uploaded = True
        self._touch()
        self._chunked = outbound.length is None
        self._pump = self.engine.loop.create_task(
            self._run_pump(outbound, head, upload)
        )

    async def _send_first(
        self, outbound: Outbound, head: bytes, upload: AsyncUpload
    ) -> None:
        """A body that is already there goes out in the same write as the head. If it is
        not, the head goes ahead in the next turn of the loop."""
        length = outbound.length
        ahead = self.engine.loop.call_soon(
            self._send_head, head + h1.framing(outbound, length)
        )
        try:
            data = await upload.read()
        finally:
            ahead.cancel()
        if not self._head_sent:
            if upload.ended and length is None:
                length = len(data)  # All of it is here, so its length is known.
                self._chunked = False
            self._head_sent = True
            head += h1.framing(outbound, length)
            self._transport.write(head + self._encoded(data))
        elif data:
            self._transport.write(self._encoded(data))
        self._touch()

    def _send_head(self, encoded: bytes) -> None:
        self._head_sent = True
        self._transport.write(encoded)

    def _encoded(self, data: bytes) -> bytes:
        return h1.chunk(data) if self._chunked and data else data

    async def _run_pump(
        self, outbound: Outbound, head: bytes, upload: AsyncUpload
    ) -> None:
        """All of the request, held up while the session does not take it."""
        try:
            await self._send_first(outbound, head, upload)
            taken = True
            while not upload.ended:
                if taken and self._writable is not None:
                    taken = await self._taken(self._writable)
                data = await upload.read()
                # Where the session has gone on meanwhile, nothing is lost yet.
                if taken or self._writable is None:
                    taken = True
                    if data:
                        self._transport.write(self._encoded(data))
                        self._touch()
                elif data:
                    self._holed = True
        except Exception as error:
            self._fail(error)
        else:
            self._pump = None
            if not self._holed:
                self._finish_request()

    async def _taken(self, writable: asyncio.Future[None]) -> bool:
        """Wait for the session to take what it was sent. False when it has taken
        nothing for too long, and answers all the same: what the client sends until it
        does is dropped, and read for the sake of the upload's end, or the client's.
        Should the session go on after that, it is broken off."""
        left = self._untaken()
        while True:
            await asyncio.wait([writable], timeout=self.engine.timeouts.idle)
            if writable.done():
                return True
            before, left = left, self._untaken()
            answers = self._response is not None and self._response.head
            if answers and left == before:
                return False

    def _untaken(self) -> int:
        """Bytes sent that the session's side has not taken. The loop hears of it only
        when many have gone: where the kernel tells of each, it is asked."""
        waiting: int = self._transport.get_write_buffer_size()
        sock = self._transport.get_extra_info("socket")
        return waiting if sock is None else waiting + unconfirmed(sock)

    def _finish_request(self) -> None:
        if self._chunked:
            self._transport.write(h1.LAST_CHUNK)
        self._sent = True
        response = self._response
        if response is None:
            return
        if response.head:
            self._touch()
        else:
            self._deadline = monotonic() + self.engine.timeouts.response

    # The exchange, seen from the session.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self.send = self._transport.write
        plain = transport.get_extra_info("sslcontext") is None
        if plain and hasattr(select, "poll"):
            self._unread = own_poll()
            self._unread.register(
                transport.get_extra_info("socket").fileno(), select.POLLIN
            )

    def get_buffer(self, sizehint: int) -> memoryview:
        # Filled and emptied without anything in between, so one serves all.
        return self.engine.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self.engine.buffer[:nbytes]
        response = self._response
        if response is None:
            self.abort()  # Bytes that nobody asked for.
            return
        try:
            self._reader.feed(data)
        except h1.ProtocolViolation as violation:
            if response.head:
                error: Exception = ResponseTruncated(
                    "upstream_protocol", str(violation)
                )
            else:
                error = UpstreamProtocolError(str(violation))
            self._fail(error)
            return
        if response.complete:
            self._complete(response)
        elif response.head:
            self._touch()
            response.size += nbytes
            if len(response.pieces) > MANY_PIECES:
                response.pieces = [b"".join(response.pieces)]
            if response.size > HIGH_WATER and not self.read_paused:
                self.read_paused = True
                self._transport.pause_reading()
            response.changed()

    def _complete(self, response: Response) -> None:
        """The response is whole; the connection is free, or done with."""
        self._response = None
        if self.read_paused:
            self.resume_reading()
        uploaded, self._uploaded = self._uploaded, False
        if uploaded and (
            not self._sent or self._transport.is_closing() or self._untaken()
        ):
            # What of the request is still to be taken may never be: the transport would
            # keep the connection until it was, and the next request stand behind it.
            self.abort()
        elif self._reader.reusable:
            self.engine.pool.give(self.pool_key, self, monotonic())
        else:
            self.close()
        response.release()

    def eof_received(self) -> None:
        # The transport would write all that it has before it told of the end.
        if self._unread is not None and self._untaken():
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.engine.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._response is not None and exc is not None:
            self._salvage()
        self._go_on_writing()
        response = self._response
        if response is None:
            return
        detail = f"{self.pool_key[0]} closed the connection"
        try:
            self._reader.eof(clean=exc is None and self._closed())
        except h1.Truncated:
            if response.head:
                error: Exception = ResponseTruncated("upstream_closed", detail)
            elif self._reader.started:
                error = UpstreamProtocolError(f"{detail} inside the head")
            else:
                error = StaleConnection(f"{detail} before it answered: {exc}")
            self._fail(error)
        else:
            self._complete(response)

    def _closed(self) -> bool:
        """Whether the session said that it closed: over TLS the end of the stream alone
        is no end, since anybody on the way could have cut it (RFC 9112 §9.8)."""
        tls = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            tls.read(1)
        except ssl.SSLZeroReturnError:
            return True
        except (ssl.SSLError, ValueError):
            return False
        return False

    def _salvage(self) -> None:
        """What the session said before it closed, when writing to it failed first:
        an early refusal of an upload must not be lost to the broken pipe."""
        sock = self._transport.get_extra_info("socket")
        plain = self._transport.get_extra_info("sslcontext") is None
        # Elsewhere (uvloop) the descriptor may already belong to somebody else.
        if not isinstance(self.engine.loop, asyncio.SelectorEventLoop) or not plain:
            return
        try:
            while self._response is not None:
                received = os.readv(sock.fileno(), [self.engine.buffer])
                if not received:
                    return
                self.buffer_updated(received)
        except OSError:
            return

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self.engine.loop.create_future()

    def resume_writing(self) -> None:
        if not self._holed:
            self._go_on_writing()
            return
        late = "took what was left of the upload too late"
        # Not from within this call: asyncio's transport would end itself twice.
        self.engine.loop.call_soon(self._fail, ResponseTruncated("upstream_idle", late))

    def _go_on_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def resume_reading(self) -> None:
        """The client has taken what there was."""
        if self.read_paused:
            self.read_paused = False
            self._touch()
            self._transport.resume_reading()

    # Endings.

    def usable(self) -> bool:
        """Whether an idle connection may carry a request. Bytes that nobody asked
        for, or its end, may have come while the loop was busy: such a one is closed
        here. Over TLS only the loop can tell, since records are not all data."""
        if self._unread is None:
            return not self._transport.is_closing()
        if self._unread.poll(0):
            self.abort()
            return False
        return True

    def close(self) -> None:
        """Close the connection; an exchange that is not complete breaks off."""
        self._stop()
        self._transport.close()

    def abort(self) -> None:
        """Close it without waiting for what is still to be written."""
        self._stop()
        self._transport.abort()

    def _stop(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
        response, self._response = self._response, None
        if response is not None:
            response.release(ResponseTruncated("aborted", "closed by the proxy"))

    def _fail(self, error: Exception) -> None:
        """The exchange is lost; whoever waits for it learns why."""
        response = self._response
        if response is not None:
            response.release(error)
            self._response = None
        self.abort()

    def _touch(self) -> None:
        self._deadline = monotonic() + self.engine.timeouts.idle

    def _look(self) -> None:
        """The timer: is the deadline past? If not, look again in time."""
        self._timer = None
        response = self._response
        if response is None:
            return
        engine = self.engine
        now = monotonic()
        deadline = min(self._deadline, self._last_moment)
        if now < deadline:
            again = min(deadline - now, engine.period)
            self._timer = engine.loop.call_later(again, self._look)
        elif response.head and deadline == self._last_moment:
            self._fail(ResponseTruncated("total_timeout", "it takes too long in all"))
        elif response.head:
            reason = "client_idle" if self.read_paused else "upstream_idle"
            self._fail(ResponseTruncated(reason, "no byte in either direction"))
        elif self._sent or self._writable is not None or deadline == self._last_moment:
            self._fail(UpstreamTimeout(f"{self.pool_key[0]} is silent"))
        else:
            self._fail(RequestTimeout("the client stopped sending"))


class _NotConnected(asyncio.Transport):
    """Stands in until `connection_made`."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        return

    def abort(self) -> None:
        return


_NOT_CONNECTED = _NotConnected()
