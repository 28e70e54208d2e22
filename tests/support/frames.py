"""WebSocket frames on a raw socket (RFC 6455 §5.2), also such as no library sends."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
from dataclasses import dataclass

from .upstream import Conn
from .wire import Broken, Fields, Message, Wire

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(slots=True)
class Frame:
    """One frame as it came."""

    opcode: int
    data: bytes
    fin: bool

    @property
    def code(self) -> int | None:
        """Of a closing frame."""
        return struct.unpack("!H", self.data[:2])[0] if self.data else None

    @property
    def reason(self) -> str:
        """Of a closing frame."""
        return self.data[2:].decode()


def frame(
    opcode: int,
    data: bytes = b"",
    *,
    fin: bool = True,
    masked: bool = False,
    reserved: int = 0,
) -> bytes:
    """The bytes of one. What a client sends is `masked`."""
    size = len(data)
    head = bytes([(fin << 7) | (reserved << 4) | opcode])
    bit = masked << 7
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + data
    mask = os.urandom(4)
    return head + mask + _masked(data, mask)


def closing(code: int | None, reason: str = "", *, masked: bool = False) -> bytes:
    """A closing frame."""
    data = b"" if code is None else struct.pack("!H", code) + reason.encode()
    return frame(CLOSE, data, masked=masked)


def take(wire: Wire) -> Frame:
    """The next frame. Raises `Broken` at the end of the stream."""
    first, second = _exactly(wire, 2)
    size = second & 127
    if size == 126:
        (size,) = struct.unpack("!H", _exactly(wire, 2))
    elif size == 127:
        (size,) = struct.unpack("!Q", _exactly(wire, 8))
    mask = _exactly(wire, 4) if second & 128 else bytes(4)
    return Frame(first & 15, _masked(_exactly(wire, size), mask), bool(first & 128))


def accept(conn: Conn, *fields: tuple[bytes, bytes], first: bytes = b"") -> Message:
    """Answer the handshake; `first` is sent in the same bytes. The request."""
    request = conn.request()
    conn.send(acceptance(request, *fields) + first)
    return request


def until_closed(conn: Conn) -> list[Frame]:
    """All frames up to the closing one, which is answered."""
    got = [take(conn)]
    while got[-1].opcode != CLOSE:
        got.append(take(conn))
    conn.send(frame(CLOSE, got[-1].data))
    end(conn)
    return got


def end(conn: Conn) -> None:
    """Close this side of the connection, as RFC 6455 §7.1.1 wants it of a server."""
    conn.sock.shutdown(socket.SHUT_WR)


def acceptance(request: Message, *fields: tuple[bytes, bytes]) -> bytes:
    """A 101 that answers it."""
    key = request.one("Sec-WebSocket-Key")
    token = base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324
    lines: Fields = [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", token),
        *fields,
    ]
    head = b"".join(b"%b: %b\r\n" % field for field in lines)
    return b"HTTP/1.1 101 Switching Protocols\r\n" + head + b"\r\n"


def upgrade(*fields: tuple[bytes, bytes]) -> Fields:
    """The fields of a client's handshake."""
    return [
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", base64.b64encode(os.urandom(16))),
        *fields,
    ]


def _exactly(wire: Wire, size: int) -> bytes:
    while len(wire.buffer) < size:
        if not wire.fill():
            raise Broken("the end, inside a frame")
    data, wire.buffer = wire.buffer[:size], wire.buffer[size:]
    return bytes(data)


def _masked(data: bytes, mask: bytes) -> bytes:
    if not any(mask):
        return data
    whole = mask * (len(data) // 4 + 1)
    number = int.from_bytes(data) ^ int.from_bytes(whole[: len(data)])
    return number.to_bytes(len(data))
