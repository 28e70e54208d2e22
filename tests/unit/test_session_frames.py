"""What a session sends by WebSocket, however its bytes are cut: short whole messages
are taken without the library, and nothing may tell."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.uri import parse_uri

from session_proxy_middleware.upstream import websocket
from session_proxy_middleware.upstream.websocket import SessionSocket

from ..support import frames

MAX = 300
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Message = str | bytes


class Written(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class Session:
    """The proxy's leg to a session whose every byte the test says."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        protocol = ClientProtocol(parse_uri("ws://session/"), max_size=MAX)
        self._buffer = memoryview(bytearray(4096))
        self.socket = SessionSocket(loop, self._buffer, protocol, MAX)
        self.transport = Written()
        self.socket.connection_made(self.transport)
        asking = self.socket.ask(websocket._handshake(protocol))
        asking.send(None)
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", self.transport.data)
        assert key is not None
        token = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())  # noqa: S324
        self.comes(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + token + b"\r\n\r\n"
        )
        with pytest.raises(StopIteration):
            asking.send(None)
        self.transport.data = b""

    def comes(self, data: bytes) -> None:
        """So many bytes in one read."""
        self._buffer[: len(data)] = data
        self.socket.buffer_updated(len(data))

    def messages(self) -> list[Message]:
        """All that are there."""
        got: list[Message] = []
        while self.socket._messages:
            with pytest.raises(StopIteration) as returned:
                self.socket.receive().send(None)
            got.append(returned.value.value)
        return got


Start = Callable[[], Session]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    loop = asyncio.new_event_loop()
    yield lambda: Session(loop)
    loop.close()


texts = st.text(max_size=60)
datas = st.binary(max_size=200)


@st.composite
def sent(draw: st.DrawFn) -> tuple[bytes, list[Message]]:
    """Bytes of a few frames, and the messages in them."""
    out, expected = b"", list[Message]()
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["text", "binary", "fragments", "ping"]))
        data = draw(texts).encode() if kind == "text" else draw(datas)
        if kind == "ping":
            out += frames.frame(frames.PING, data[:125])
            continue
        if kind == "fragments":
            cut = draw(st.integers(0, len(data)))
            out += frames.frame(frames.BINARY, data[:cut], fin=False)
            out += frames.frame(frames.CONT, data[cut:])
        else:
            out += frames.frame(frames.TEXT if kind == "text" else frames.BINARY, data)
        expected.append(data.decode() if kind == "text" else data)
    return out, expected


@given(sent(), st.data())
@settings(deadline=None)
def test_the_messages_are_the_same_however_the_bytes_are_cut(
    start: Start, stream: tuple[bytes, list[Message]], data: st.DataObject
) -> None:
    out, expected = stream
    session = start()
    got: list[Message] = []
    at = 0
    while at < len(out):
        size = data.draw(st.sampled_from([1, 2, 3, 7, 100, len(out)]))
        session.comes(out[at : at + size])
        got += session.messages()
        at += size
    assert got == expected
    assert session.socket.ended is None


def test_what_looks_like_a_message_inside_of_another_is_none(start: Start) -> None:
    whole = frames.frame(frames.TEXT, b"inner")
    session = start()
    for piece in (b"\x82", bytes([len(whole)]), whole):
        session.comes(piece)
    assert session.messages() == [whole]
    # And behind a length that is spelled longer than it must be.
    session.comes(b"\x82\x7e\x00\x01x")
    session.comes(b"\x82" + bytes([len(whole)]))
    session.comes(whole)
    session.comes(whole)
    assert session.messages() == [b"x", whole, "inner"]


def test_a_whole_message_inside_of_fragments_is_a_violation(start: Start) -> None:
    session = start()
    session.comes(frames.frame(frames.TEXT, b"a", fin=False))
    session.comes(frames.frame(frames.TEXT, b"b"))
    assert session.socket.ended is not None
    assert session.socket.ended.word == "upstream_protocol"
    assert session.messages() == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frames.frame(frames.TEXT, b"\xff"), 1007),
        (frames.frame(frames.TEXT, b"x", reserved=4), 1002),
        (frames.frame(frames.TEXT, b"x", masked=True), 1002),
    ],
    ids=["not UTF-8", "a reserved bit", "a mask"],
)
def test_a_short_message_that_is_wrong_is_told_so(
    start: Start, data: bytes, code: int
) -> None:
    session = start()
    session.comes(frames.frame(frames.TEXT, b"fine"))
    session.comes(data)
    assert session.messages() == ["fine"]
    assert session.socket.ended is not None
    assert session.socket.ended.word == "upstream_protocol"
    told = session.transport.data
    assert told[0] == 0x88
    mask, masked = told[2:6], told[6:8]
    plain = bytes(one ^ two for one, two in zip(masked, mask, strict=False))
    assert struct.unpack("!H", plain) == (code,)
