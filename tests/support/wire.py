"""HTTP/1.1 read from a raw socket: exact bytes, order kept, endings told apart."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

PATIENCE = 10.0
"""Seconds before a silent peer fails a test."""

Fields = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Message:
    """One request or response: `start` line, fields as they were on the wire."""

    start: bytes
    headers: Fields
    raw: bytes
    """The head, byte for byte."""
    body: bytes = b""
    end: str = "open"
    """`whole` (as its framing says), `eof` (ended by the close alone), `broken`."""
    interim: list[int] = field(default_factory=list)
    """The 1xx that came before."""

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.start.split(b" ")[1])

    @property
    def method(self) -> bytes:
        """Of a request."""
        return self.start.split(b" ")[0]

    @property
    def target(self) -> bytes:
        """Of a request."""
        return self.start.split(b" ", 1)[1].rsplit(b" ", 1)[0]

    @property
    def names(self) -> list[bytes]:
        """The fields' names in lower case, in order."""
        return [name.lower() for name, _ in self.headers]

    def all(self, name: str) -> list[bytes]:
        """Every value of a field."""
        wanted = name.lower().encode()
        return [value for key, value in self.headers if key.lower() == wanted]

    def one(self, name: str) -> bytes:
        """The value of a field that is there exactly once."""
        values = self.all(name)
        assert len(values) == 1, f"{name}: {values} in {self.raw!r}"
        return values[0]

    def has(self, name: str) -> bool:
        """Whether a field is there."""
        return bool(self.all(name))

    @property
    def ours(self) -> bool:
        """Whether the proxy answered, and not the session."""
        return self.has("x-session-proxy-error")


class Broken(Exception):
    """The peer reset the connection, or ended it inside a message."""


class Wire:
    """A socket that is read as HTTP/1.1."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.eof = False
        self.reset = False
        sock.settimeout(PATIENCE)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """All of it."""
        self.sock.sendall(data)

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    def fill(self) -> bool:
        """More bytes into the buffer; False at the end of the stream."""
        if self.eof:
            return False
        try:
            data = self.sock.recv(262_144)
        except (ConnectionResetError, BrokenPipeError):
            self.reset = True
            data = b""
        if not data:
            self.eof = True
            return False
        self.buffer += data
        return True

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        while (at := self.buffer.find(mark)) < 0:
            if not self.fill():
                raise Broken(f"the end, before {mark!r}: {self.buffer[:200]!r}")
        at += len(mark)
        data, self.buffer = self.buffer[:at], self.buffer[at:]
        return data

    def take(self, most: int) -> bytes:
        """At least one byte, at most so many; none at the end of the stream."""
        if not self.buffer and not self.fill():
            return b""
        data, self.buffer = self.buffer[:most], self.buffer[most:]
        return data

    def head(self) -> Message:
        """The next head."""
        raw = self.until(b"\r\n\r\n")
        start, *lines = raw[:-4].split(b"\r\n")
        headers: Fields = []
        for line in lines:
            name, _, value = line.partition(b":")
            headers.append((name, value.strip(b" \t")))
        return Message(start, headers, raw)

    def response_head(self) -> Message:
        """The next final head; those before it are its `interim`."""
        interim: list[int] = []
        while True:
            message = self.head()
            if message.status >= 200:
                message.interim = interim
                return message
            interim.append(message.status)

    def pieces(self, message: Message, *, to: str = "GET") -> Iterable[bytes]:
        """The body in the pieces that it comes in; sets `end`, never raises."""
        response = message.start.startswith(b"HTTP/")
        if response and (to == "HEAD" or message.status in (204, 304)):
            message.end = "whole"
            return
        encodings = message.all("transfer-encoding")
        lengths = message.all("content-length")
        try:
            if encodings:
                yield from self._chunks()
            elif lengths:
                left = int(lengths[0])
                while left:
                    data = self.take(left)
                    if not data:
                        raise Broken("the end, inside a body of known length")
                    left -= len(data)
                    yield data
            elif response:
                while data := self.take(262_144):
                    yield data
                message.end = "broken" if self.reset else "eof"
                return
        except Broken:
            message.end = "broken"
        else:
            message.end = "whole"

    def _chunks(self) -> Iterable[bytes]:
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            while size:
                data = self.take(size)
                if not data:
                    raise Broken("the end, inside a chunk")
                size -= len(data)
                yield data
            assert self.until(b"\r\n") == b"\r\n"
        while self.until(b"\r\n") != b"\r\n":
            pass

    def body(self, message: Message, *, to: str = "GET") -> Message:
        """The message with its body."""
        message.body += b"".join(self.pieces(message, to=to))
        return message

    def answer(self, *, to: str = "GET") -> Message:
        """The next response, body and all. `to`: the method it answers."""
        return self.body(self.response_head(), to=to)

    def closed(self, within: float = PATIENCE) -> bool:
        """Whether the peer closes the connection without saying anything more."""
        self.sock.settimeout(within)
        try:
            return not self.fill()
        except TimeoutError:
            return False
        finally:
            self.sock.settimeout(PATIENCE)

    def silent(self, seconds: float) -> bool:
        """Whether nothing at all comes for so long."""
        self.sock.settimeout(seconds)
        try:
            self.fill()
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)
        return False


def connect(address: tuple[str, int], *, receive_buffer: int | None = None) -> Wire:
    """A connection of one's own."""
    sock = socket.socket(socket.AF_INET)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return Wire(sock)


def chunked(*pieces: bytes, last: bool = True) -> bytes:
    """Pieces as chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return body + b"0\r\n\r\n" if last else body
