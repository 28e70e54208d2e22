"""One connection to a session's WebSocket, on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from websockets.client import ClientProtocol
from websockets.protocol import OPEN

from ..errors import UpstreamProtocolError, UpstreamUnreachable
from ..models import Field
from ..rules.handshake import NO_STATUS
from . import h1
from .messages import HIGH_WATER, Ended, Incoming
from .upgrading import UpgradeReader

REFUSAL_BYTES = 1_048_576
"""Of the body of a refusal. Servers collect it."""

GRACE = 5.0
"""Seconds for the session to close the connection, once a closing frame is out, or to
take some more of what is before it."""


class SessionSocket(asyncio.BufferedProtocol):
    """One connection: the handshake first, then messages both ways.

    After `ask`, `status` and `headers` are the answer's. `opened` says whether it is an
    acceptance; if not, `body` is that of the refusal.
    """

    answered = False
    opened = False
    status = 0
    body = b""
    writable: asyncio.Future[None] | None = None
    """To be awaited before the next `send`, where it is not None."""
    reads = 0
    """How often something came from the session."""
    messages_sent = bytes_sent = 0
    """To the session."""
    _lost = _paused = _scheduled = False
    _expiry: asyncio.TimerHandle | None = None

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        buffer: memoryview,
        protocol: ClientProtocol,
        max_message: int,
    ) -> None:
        self._loop = loop
        self._max_message = max_message
        self.headers: Sequence[Field] = ()
        self._buffer = buffer
        self._protocol = protocol
        self._incoming = Incoming(protocol)
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        # The answer to the handshake, and what came behind it.
        self._answer = h1.Message()
        self._reader = UpgradeReader()
        self._reader.begin(self._answer, False)
        self._early = bytearray()
        self._failure: Exception | None = None
        self._pong = b""

    # The handshake.

    async def ask(self, head: bytes) -> None:
        """Send the request; returns when the answer is there, a refusal's body too."""
        self._transport.write(head)
        answer = self._answer
        while self._failure is None and not answer.complete:
            await self._change()
        if self._failure is not None:
            raise self._failure
        self.status = answer.status
        self.headers = answer.headers
        if answer.status != 101:
            self.body = answer.take()
            self.answered = True
            self._transport.abort()
            return
        protocol = self._protocol
        protocol.receive_data(_acceptance(answer.headers))
        protocol.events_received()
        if protocol.state is not OPEN:
            raise UpstreamProtocolError(f"handshake: {protocol.handshake_exc}")
        self.answered = self.opened = True
        # A socket may be open for long, and there may be many.
        del self._answer, self._reader
        self._incoming.feed(bytes(self._early))
        self._early.clear()
        if self._lost:
            self._incoming.eof()
        self._settle()

    @property
    def subprotocol(self) -> str | None:
        """What the session has chosen."""
        return self._protocol.subprotocol

    # Messages.

    @property
    def ended(self) -> Ended | None:
        """Why no more messages come, once that is so."""
        return self._incoming.ended

    @property
    def messages_received(self) -> int:
        """From the session."""
        return self._incoming.taken

    @property
    def bytes_received(self) -> int:
        """From the session."""
        return self._incoming.taken_bytes

    @property
    def held_up(self) -> bool:
        """Whether one side waits for the other, so that silence means nothing."""
        return self._paused or self.writable is not None

    @property
    def unsent(self) -> int:
        """Bytes that the session has not taken yet."""
        return self._transport.get_write_buffer_size()

    def send(self, message: str | bytes) -> bool:
        """A message for the session; False, and nothing sent, for one that is too
        large. A session that is closed gets none."""
        protocol = self._protocol
        data = message.encode() if isinstance(message, str) else message
        if len(data) > self._max_message:
            return False
        if protocol.state is not OPEN:
            return True
        if data is message:
            protocol.send_binary(data)
        else:
            protocol.send_text(data)
        self.messages_sent += 1
        self.bytes_sent += len(data)
        self._transport.write(b"".join(protocol.data_to_send()))
        return True

    async def receive(self) -> str | bytes | None:
        """The next message; None once `ended` says why there are no more."""
        incoming = self._incoming
        while not incoming.messages:
            if incoming.ended is not None:
                return None
            await self._change()
        waiting = incoming.waiting
        message = incoming.take()
        if waiting:
            self._settle()
        return message

    def ping(self) -> None:
        """Ask whether the session is there; any byte from it is an answer."""
        if self._protocol.state is OPEN:
            self._protocol.send_ping(b"")
            self._flush()

    def close(self, code: int | None, reason: str = "") -> None:
        """Close from this side; without a code where that is None. What came and was
        not taken is dropped."""
        self._incoming.end(NO_STATUS if code is None else code, reason)
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason)
        self._settle()
        self._changed()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        # Filled and emptied without anything in between, so one serves all.
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.reads += 1
        data = self._buffer[:nbytes]
        if self.opened:
            self._incoming.feed(data)
            self._settle()
        elif self._answer.complete:
            self._early += data
        else:
            self._read_answer(data)
        self._changed()

    def _read_answer(self, data: memoryview) -> None:
        try:
            self._reader.feed(data)
            self._early += self._reader.rest
            if sum(map(len, self._answer.pieces)) > REFUSAL_BYTES:
                raise h1.ProtocolViolation("a refusal without end")
        except h1.ProtocolViolation as violation:
            self._failure = UpstreamProtocolError(str(violation))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._expiry is not None:
            self._expiry.cancel()
        if self.opened:
            self._incoming.eof()
        elif not self._answer.complete:
            try:
                self._reader.eof(clean=exc is None)
            except h1.Truncated:
                self._failure = (
                    UpstreamProtocolError("closed inside the answer")
                    if self._reader.started
                    else UpstreamUnreachable(f"closed before it answered: {exc}")
                )
        self.resume_writing()
        self._changed()

    def pause_writing(self) -> None:
        if self.writable is None:
            self.writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self.writable = self.writable, None
        if self._pong:
            self._transport.write(self._pong)
            self._pong = b""
        if writable is not None and not writable.done():
            writable.set_result(None)

    # What follows from what came, or was taken.

    def _settle(self) -> None:
        incoming = self._incoming
        if self._protocol.writes:
            self._flush()
        if self._paused:
            if not incoming.waiting:
                self._paused = False
                self._transport.resume_reading()
        elif incoming.waiting > HIGH_WATER:
            self._paused = True
            self._transport.pause_reading()
        if incoming.resting and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._parse)
        if incoming.ended is not None and self._expiry is None and not self._lost:
            self._expiry = self._loop.call_later(GRACE, self._expire, self.unsent)

    def _parse(self) -> None:
        self._scheduled = False
        self._incoming.parse()
        self._settle()
        self._changed()

    def _flush(self) -> None:
        """Write what the protocol has to say by itself: pongs, closing frames.

        While the session takes nothing, only the last is kept (RFC 6455 §5.5.3: a pong
        may answer the most recent ping alone), or its pings would fill the memory.
        """
        for data in self._protocol.data_to_send():
            if self.writable is not None:
                self._pong = data
            elif data:
                self._transport.write(data)

    def _expire(self, before: int) -> None:
        """The session has not closed the connection, as it should: if it still takes
        something, it is given more time."""
        left = self.unsent
        if 0 < left < before:
            self._expiry = self._loop.call_later(GRACE, self._expire, left)
        else:
            self._transport.abort()

    def _change(self) -> asyncio.Future[None]:
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def _changed(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _acceptance(headers: Sequence[Field]) -> bytes:
    """The part of a 101 that is the protocol's, for the library to check."""
    lines = [b"HTTP/1.1 101 Switching Protocols\r\n"]
    lines += [
        b"%b: %b\r\n" % field
        for field in headers
        if field[0] in (b"upgrade", b"connection")
        or field[0].startswith(b"sec-websocket-")
    ]
    return b"".join(lines) + b"\r\n"
