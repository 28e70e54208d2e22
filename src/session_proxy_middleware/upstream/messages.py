"""What comes from a session's WebSocket, without I/O: bytes in, whole messages out.

It is parsed as far as somebody takes it: kept are bytes rather than objects, and of
both only so many.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import cast

from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode

from ..rules.handshake import LOST

HIGH_WATER = 65_536
"""Bytes of messages that nobody takes, after which no more is parsed; and of what is
not parsed, after which no more should be read."""

OVERHEAD = 512
"""Bytes that a message costs beside its own."""

SLICE = 2048
"""Bytes parsed in one go: of the smallest frames that is a thousand."""

MANY = 64
"""Frames after which others get a turn."""

_TEXT, _BINARY, _CONT, _CLOSE = Opcode.TEXT, Opcode.BINARY, Opcode.CONT, Opcode.CLOSE


@dataclass(slots=True)
class Ended:
    """Why no more messages come: the session's closing code, `LOST` without one, and
    the word for the access record."""

    code: int
    reason: str
    word: str


class Incoming:
    """The messages of one connection. What `protocol` has to say to what it reads is
    for the caller to write."""

    ended: Ended | None = None
    """Set once there is no more than `messages`."""
    resting = False
    """There is more to `parse`, when others have had their turn."""
    taken = taken_bytes = 0

    def __init__(self, protocol: ClientProtocol) -> None:
        self._protocol = protocol
        self.messages: deque[tuple[str | bytes, int]] = deque()
        self._size = 0
        self._raw = bytearray()
        # A message of which the end is missing.
        self._parts: bytearray | None = None
        self._is_text = False
        self._eof = False

    @property
    def waiting(self) -> int:
        """Bytes that are not parsed."""
        return len(self._raw)

    def feed(self, data: bytes | memoryview) -> None:
        """Take this in, and parse what is wanted now."""
        if self.ended is not None:
            return
        if self._raw or self.resting or len(data) > SLICE or self._size >= HIGH_WATER:
            self._raw += data
            if not self.resting:
                self.parse()
        else:
            self._parse_slice(bytes(data))

    def parse(self) -> None:
        """Parse what is wanted now of what is waiting."""
        self.resting = False
        raw = self._raw
        frames = 0
        while raw and self._size < HIGH_WATER and self.ended is None:
            if frames > MANY:
                # With a message there, parsing goes on when it is taken.
                self.resting = not self.messages
                return
            data = bytes(raw[:SLICE])
            del raw[:SLICE]
            frames += self._parse_slice(data)
        if self.ended is not None:
            raw.clear()
        elif self._eof and not raw:
            self._lose()

    def take(self) -> str | bytes:
        """The next of `messages`."""
        message, size = self.messages.popleft()
        self._size -= size + OVERHEAD
        self.taken += 1
        self.taken_bytes += size
        if self._raw and not self.resting:
            self.parse()
        return message

    def eof(self) -> None:
        """The session has closed the connection."""
        self._eof = True
        if not self._raw:
            self._lose()

    def end(self, code: int, reason: str) -> None:
        """No more is wanted."""
        if self.ended is None:
            self.ended = Ended(code, reason, "completed")
        self.messages.clear()
        self._raw.clear()

    def _lose(self) -> None:
        if self.ended is None:
            self.ended = Ended(LOST, "", "upstream_closed")

    def _parse_slice(self, data: bytes) -> int:
        """How many frames it ended."""
        protocol = self._protocol
        protocol.receive_data(data)
        frames = protocol.events_received()
        for frame in frames:
            self._read(cast(Frame, frame))
        error = protocol.parser_exc
        if error is not None and self.ended is None:
            large = isinstance(error, PayloadTooBig)
            word = "message_too_large" if large else "upstream_protocol"
            self.ended = Ended(LOST, "", word)
        return len(frames)

    def _read(self, frame: Frame) -> None:
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
        elif opcode is _CLOSE and (close := self._protocol.close_rcvd) is not None:
            self.ended = self.ended or Ended(close.code, close.reason, "completed")

    def _add(self, data: bytes | bytearray | memoryview) -> None:
        if self.ended is not None:
            return
        message: str | bytes
        if self._is_text:
            try:
                message = str(data, "utf-8")
            except UnicodeDecodeError:
                self._protocol.fail(1007, "not UTF-8")
                self.ended = Ended(LOST, "", "upstream_protocol")
                return
        else:
            message = bytes(data)
        size = len(data)
        self.messages.append((message, size))
        self._size += size + OVERHEAD
