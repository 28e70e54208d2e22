"""The session's leg of a WebSocket: the protocol of the `websockets` library, without
its I/O, on a connection of our own. Installed with the extra `[websocket]`.

What comes is parsed as far as somebody takes it, so that a session which sends more
than its client reads is held up, and kept are bytes rather than objects.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import cast

from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ..errors import (
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ..models import Headers, Outbound
from ..options import Timeouts, WebSockets
from ..rules.handshake import LOST, NO_STATUS
from . import h1
from .connection import RECEIVE_BUFFER
from .dialling import Dialler
from .loops import PerLoop
from .upgrading import UpgradeReader

HIGH_WATER = 65_536
"""Bytes that are kept for a client that does not take them, before the session is held
up: parsed, and again not parsed."""

OVERHEAD = 512
"""Bytes that a message costs beside its own."""

SLICE = 2048
"""Bytes parsed in one go: of the smallest frames that is a thousand."""

MANY = 64
"""Frames after which others get a turn."""

REFUSAL_BYTES = 1_048_576
"""Of the body of a refusal. Servers collect it."""

GRACE = 5.0
"""Seconds for the session to close the connection, once a closing frame is out, or to
take some more of what is before it."""

_URI = parse_uri("ws://session/")
_TEXT, _BINARY, _CONT, _CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.CLOSE

# RFC 6455 §5.2: the first byte of a whole message, and the most that the second tells.
_WHOLE_TEXT, _WHOLE_BINARY = 0x80 | _TEXT, 0x80 | _BINARY
_SHORT = 125


@dataclass(slots=True)
class Ended:
    """Why no more messages come: the session's closing code, `LOST` without one, and
    the word for the access record."""

    code: int
    reason: str
    word: str


class WebSocketTransport:
    """Opens sessions' WebSockets. Nothing is shared between event loops."""

    def __init__(
        self, dialler: Dialler, timeouts: Timeouts, options: WebSockets
    ) -> None:
        self._dialler = dialler
        self._timeouts = timeouts
        self._options = options
        self._buffers = PerLoop(lambda _: memoryview(bytearray(RECEIVE_BUFFER)))

    async def connect(
        self, outbound: Outbound, subprotocols: list[bytes]
    ) -> SessionSocket:
        """Connect, ask, and wait for the answer: see `SessionSocket.opened`.

        Raises: `ConnectFailed`, `ConnectTimeout`, `UpstreamUnreachable`,
        `UpstreamProtocolError`, `UpstreamTimeout`.
        """
        loop = asyncio.get_running_loop()
        buffer = self._buffers.current()
        offered = [Subprotocol(each.decode("ascii")) for each in subprotocols]
        options = self._options
        protocol = ClientProtocol(
            _URI,
            extensions=[ClientPerMessageDeflateFactory()]
            if options.compression
            else None,
            subprotocols=offered or None,
            max_size=options.max_message,
        )
        head = h1.head(outbound) + _handshake(protocol)
        socket = await self._dialler.dial(
            loop,
            outbound.session,
            lambda: SessionSocket(loop, buffer, protocol, options.max_message),
        )
        try:
            async with asyncio.timeout(self._timeouts.response):
                await socket.ask(head)
        except TimeoutError as error:
            raise UpstreamTimeout("no answer to the handshake") from error
        finally:
            if not socket.answered:
                socket.abort()
        return socket


def _handshake(protocol: ClientProtocol) -> bytes:
    """The fields of the session's leg; they end the head."""
    fields = protocol.connect().headers
    lines = [b"upgrade: websocket\r\nconnection: Upgrade\r\n"]
    lines += [
        f"{name.lower()}: {value}\r\n".encode("ascii")
        for name, value in fields.raw_items()
        # The client's subprotocols crossed with its other fields.
        if name.startswith("Sec-WebSocket-") and name != "Sec-WebSocket-Protocol"
    ]
    return b"".join(lines) + b"\r\n"


class SessionSocket(asyncio.BufferedProtocol):
    """One connection: the handshake first, then messages both ways.

    After `ask`, `status` and `headers` are the answer's. `opened` says whether it is an
    acceptance; if not, `body` is that of the refusal.
    """

    answered = False
    opened = False
    status = 0
    body = b""
    ended: Ended | None = None
    writable: asyncio.Future[None] | None = None
    """To be awaited before the next `send`, where it is not None."""
    reads = 0
    """How often something came from the session."""
    messages_sent = messages_received = bytes_sent = bytes_received = 0
    """Seen from here: sent to the session, received from it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        buffer: memoryview,
        protocol: ClientProtocol,
        max_message: int,
    ) -> None:
        self.loop = loop
        self._max_message = max_message
        self.headers: Headers = []
        self._buffer = buffer
        self._protocol = protocol
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        # The answer to the handshake.
        self._answer = h1.Message()
        self._reader = UpgradeReader()
        self._reader.begin(self._answer, False)
        self._failure: Exception | None = None
        # What has come: bytes not parsed yet, the beginning of a message, messages.
        self._raw = bytearray()
        self._inside = 0  # Bytes of a frame whose rest has not come.
        self._parts: bytearray | None = None
        self._is_text = False
        self._messages: deque[tuple[str | bytes, int]] = deque()
        self._size = 0
        self._paused = False
        self._resting = False
        self._lost = False
        self._finishing = False
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

    @property
    def subprotocol(self) -> str | None:
        """What the session has chosen."""
        return self._protocol.subprotocol

    @property
    def held_up(self) -> bool:
        """Whether one side waits for the other, so that silence means nothing."""
        return self._paused or self.writable is not None

    @property
    def unsent(self) -> int:
        """Bytes that the session has not taken yet."""
        return self._transport.get_write_buffer_size()

    # Messages.

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
        while not self._messages:
            if self._raw and not self._resting:
                self._parse()
            elif self.ended is not None:
                return None
            else:
                await self._change()
        message, size = self._messages.popleft()
        self._size -= size + OVERHEAD
        self.messages_received += 1
        self.bytes_received += size
        if self._raw and not self._resting:
            self._parse()
        return message

    def ping(self) -> None:
        """Ask whether the session is there; any byte from it is an answer."""
        if self._protocol.state is OPEN:
            self._protocol.send_ping(b"")
            self._flush()

    def close(self, code: int | None, reason: str = "") -> None:
        """Close from this side; without a code where that is None. What came and was
        not taken is dropped."""
        if self.ended is None:
            self.ended = Ended(NO_STATUS if code is None else code, reason, "completed")
        self._messages.clear()
        self._raw.clear()
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason)
            self._flush()
        self._finish()

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
        if not self.opened and not self._answer.complete:
            self._read_answer(data)
        elif self.ended is None:
            if nbytes <= SLICE and self._idle():
                if not self._took(data):
                    self._feed(bytes(data))
            else:
                self._raw += data
                if self.opened and not self._resting:
                    self._parse()
                if len(self._raw) > HIGH_WATER and not self._paused:
                    self._paused = True
                    self._transport.pause_reading()
        self._changed()

    def _read_answer(self, data: memoryview) -> None:
        try:
            self._reader.feed(data)
            self._raw += self._reader.rest
            if sum(map(len, self._answer.pieces)) > REFUSAL_BYTES:
                raise h1.ProtocolViolation("a refusal without end")
        except h1.ProtocolViolation as violation:
            self._failure = UpstreamProtocolError(str(violation))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if not self._answer.complete:
            try:
                self._reader.eof(clean=exc is None)
            except h1.Truncated:
                self._failure = (
                    UpstreamProtocolError("closed inside the answer")
                    if self._reader.started
                    else UpstreamUnreachable(f"closed before it answered: {exc}")
                )
        elif not self._raw:
            self._gone()
        self.resume_writing()
        self._changed()

    def pause_writing(self) -> None:
        if self.writable is None:
            self.writable = self.loop.create_future()

    def resume_writing(self) -> None:
        writable, self.writable = self.writable, None
        if self._pong:
            self._transport.write(self._pong)
            self._pong = b""
        if writable is not None and not writable.done():
            writable.set_result(None)

    # Parsing.

    def _idle(self) -> bool:
        """Whether what comes next may be parsed at once."""
        return (
            self.opened
            and not self._raw
            and not self._resting
            and self._size < HIGH_WATER
        )

    def _feed(self, data: bytes) -> int:
        """Parse this; how many frames it ended."""
        protocol = self._protocol
        self._inside += len(data)
        protocol.receive_data(data)
        events = protocol.events_received()
        for event in events:
            self._take(cast(Frame, event))
        if protocol.parser_exc is not None and self.ended is None:
            self._violated(protocol.parser_exc)
        if protocol.writes:
            self._flush()
        return len(events)

    def _parse(self) -> None:
        """As much as is wanted now."""
        raw = self._raw
        frames = 0
        while raw and self._size < HIGH_WATER and self.ended is None:
            if frames > MANY:
                # Of messages the next is asked for when this one is taken.
                if not self._messages:
                    self._resting = True
                    self.loop.call_soon(self._parse_on)
                return
            if len(raw) <= SLICE:
                data = bytes(raw)
                raw.clear()
            else:
                data = bytes(raw[:SLICE])
                del raw[:SLICE]
            frames += self._feed(data)
        if self.ended is not None:
            raw.clear()
        if not raw:
            if self._lost:
                self._gone()
            elif self._paused:
                self._paused = False
                self._transport.resume_reading()

    def _parse_on(self) -> None:
        self._resting = False
        self._parse()
        self._changed()

    def _took(self, data: memoryview) -> bool:
        """Whether this was one short message and nothing else, and has been taken: so
        most come, and the library needs five times as long for it.
        """
        size = len(data) - 2
        if (
            not 0 <= size <= _SHORT
            or data[1] != size
            or not (data[0] == _WHOLE_TEXT or data[0] == _WHOLE_BINARY)
            # In the middle of something.
            or self._inside
            or self._parts is not None
            # For the library to judge.
            or size > self._max_message
            or self._protocol.extensions
        ):
            return False
        self._is_text = data[0] == _WHOLE_TEXT
        self._add(data[2:])
        return True

    def _take(self, frame: Frame) -> None:
        # With a length that is spelled too long it is never 0 again: all the rest is
        # then parsed by the library.
        size = len(frame.data)
        self._inside -= size + (2 if size <= _SHORT else 4 if size < 65_536 else 10)
        opcode = frame.opcode
        if opcode is _TEXT or opcode is _BINARY:
            self._is_text = opcode is _TEXT
            if frame.fin:
                self._add(frame.data)
            else:
                self._parts = bytearray(frame.data)
        elif opcode is _CONT and self._parts is not None:
            self._parts += frame.data
            if frame.fin:
                parts, self._parts = self._parts, None
                self._add(parts)
        elif opcode is _CLOSE:
            received = self._protocol.close_rcvd
            if received is not None and self.ended is None:
                self.ended = Ended(received.code, received.reason, "completed")
            self._finish()

    def _add(self, data: bytes | bytearray | memoryview) -> None:
        if self.ended is not None:
            return
        size = len(data)
        message: str | bytes
        if self._is_text:
            try:
                message = str(data, "utf-8")
            except UnicodeDecodeError as error:
                self._protocol.fail(1007, "not UTF-8")
                self._violated(error)
                return
        else:
            message = bytes(data)
        self._messages.append((message, size))
        self._size += size + OVERHEAD

    def _violated(self, error: Exception) -> None:
        """The session broke the protocol, and has been told so."""
        word = (
            "message_too_large"
            if isinstance(error, PayloadTooBig)
            else "upstream_protocol"
        )
        self.ended = Ended(LOST, "", word)
        self._flush()
        self._finish()

    def _gone(self) -> None:
        if self.ended is None:
            self.ended = Ended(LOST, "", "upstream_closed")

    # The connection.

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

    def _finish(self) -> None:
        """The closing frames are out: the session is to close the connection."""
        if self._transport.is_closing():
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if not self._finishing:
            self._finishing = True
            self.loop.call_later(GRACE, self._expire, self.unsent)
        self._changed()

    def _expire(self, before: int) -> None:
        left = self.unsent
        if 0 < left < before:
            self.loop.call_later(GRACE, self._expire, left)
        else:
            self._transport.abort()

    def _change(self) -> asyncio.Future[None]:
        waiter = self._waiter = self.loop.create_future()
        return waiter

    def _changed(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _acceptance(headers: Headers) -> bytes:
    """The part of a 101 that is the protocol's, for the library to check."""
    lines = [b"HTTP/1.1 101 Switching Protocols\r\n"]
    lines += [
        b"%b: %b\r\n" % field
        for field in headers
        if field[0] in (b"upgrade", b"connection")
        or field[0].startswith(b"sec-websocket-")
    ]
    return b"".join(lines) + b"\r\n"
