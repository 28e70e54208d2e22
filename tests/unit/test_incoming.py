"""`upstream.messages`: whatever pieces the bytes come in, the messages are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from session_proxy_middleware.upstream.messages import (
    HIGH_WATER,
    MANY,
    OVERHEAD,
    SLICE,
    Incoming,
)
from tests.support import frames
from tests.support.wire import Message

LIMIT = 100_000


def opened() -> Incoming:
    """One that has just been accepted."""
    protocol = ClientProtocol(parse_uri("ws://a/"), max_size=LIMIT)
    key = protocol.connect().headers["Sec-WebSocket-Key"]
    asked = Message(b"", [(b"Sec-WebSocket-Key", key.encode())], b"")
    protocol.receive_data(frames.acceptance(asked))
    protocol.events_received()
    assert protocol.state is OPEN
    return Incoming(protocol)


def all_of(incoming: Incoming) -> list[str | bytes]:
    """What there is to take now, and as it goes on."""
    taken = []
    while incoming.messages or incoming.resting:
        if incoming.resting:
            incoming.parse()
        while incoming.messages:
            taken.append(incoming.take())
    return taken


MESSAGES = st.lists(
    st.one_of(
        st.text(max_size=50),
        st.binary(max_size=50),
        st.integers(SLICE - 10, 3 * SLICE).map(bytes),
    ),
    max_size=12,
)


def encoded(messages: list[str | bytes], cut: list[int]) -> bytes:
    """As frames: fragmented here and there, with a ping in between."""
    out = b""
    for index, message in enumerate(messages):
        opcode = frames.TEXT if isinstance(message, str) else frames.BINARY
        data = message.encode() if isinstance(message, str) else message
        at = cut[index % len(cut)] if cut else 0
        if at and at < len(data):
            out += frames.frame(opcode, data[:at], fin=False)
            out += frames.frame(frames.PING, b"p") + frames.frame(
                frames.CONT, data[at:]
            )
        else:
            out += frames.frame(opcode, data)
    return out


@given(MESSAGES, st.lists(st.integers(0, 40), max_size=5), st.data())
def test_messages_are_the_same_in_whatever_pieces(
    messages: list[str | bytes], cut: list[int], data: st.DataObject
) -> None:
    stream = encoded(messages, cut)
    incoming = opened()
    taken: list[str | bytes] = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, 4 * SLICE))
        incoming.feed(memoryview(stream[at : at + size]))
        at += size
        if data.draw(st.booleans()):
            taken += all_of(incoming)
    taken += all_of(incoming)
    assert taken == messages
    assert incoming.taken == len(messages)
    assert incoming.waiting == 0
    assert incoming.ended is None


def test_what_nobody_takes_is_bounded() -> None:
    incoming = opened()
    incoming.feed(frames.frame(frames.TEXT, b"") * 100_000)
    most = HIGH_WATER / OVERHEAD + SLICE / 2 + 1
    assert len(incoming.messages) <= most
    assert not incoming.resting
    count = 0
    while incoming.messages:
        incoming.take()
        count += 1
        assert len(incoming.messages) <= most
        if incoming.resting:
            incoming.parse()
    assert count == 100_000


def test_many_frames_that_are_no_messages_let_others_in() -> None:
    incoming = opened()
    incoming.feed(frames.frame(frames.PING, b"") * 10_000)
    assert incoming.resting
    turns = 0
    while incoming.resting:
        turns += 1
        incoming.parse()
    assert turns >= 10_000 / (MANY + SLICE / 2) - 1
    assert incoming.waiting == 0
    # What comes while it rests waits.
    incoming.feed(frames.frame(frames.PING, b"") * 10_000)
    left = incoming.waiting
    incoming.feed(frames.frame(frames.TEXT, b"x"))
    assert incoming.waiting == left + 3
    assert all_of(incoming) == ["x"]


def test_a_close_comes_after_what_was_before_it() -> None:
    incoming = opened()
    last = frames.frame(frames.TEXT, b"last")
    incoming.feed(last + frames.closing(4000, "bye") + frames.frame(frames.TEXT, b"no"))
    assert incoming.ended is not None
    assert (incoming.ended.code, incoming.ended.reason) == (4000, "bye")
    assert all_of(incoming) == ["last"]
    incoming.feed(last)
    assert not incoming.messages


def test_a_close_inside_a_message_breaks_the_protocol() -> None:
    incoming = opened()
    incoming.feed(frames.frame(frames.TEXT, b"a", fin=False) + frames.closing(1000))
    assert incoming.ended is not None
    assert (incoming.ended.code, incoming.ended.word) == (1006, "upstream_protocol")


@pytest.mark.parametrize("size", [10, 5 * SLICE])
def test_an_end_comes_after_what_was_before_it(size: int) -> None:
    incoming = opened()
    incoming.feed(frames.frame(frames.BINARY, bytes(size)) * 40)
    incoming.eof()
    assert len(all_of(incoming)) == 40
    assert incoming.ended is not None
    assert (incoming.ended.code, incoming.ended.word) == (1006, "upstream_closed")


def test_an_end_after_a_close_changes_nothing() -> None:
    incoming = opened()
    incoming.feed(frames.closing(1000))
    incoming.eof()
    assert incoming.ended is not None
    assert incoming.ended.word == "completed"


def test_what_is_not_wanted_is_dropped() -> None:
    incoming = opened()
    incoming.feed(frames.frame(frames.BINARY, bytes(SLICE)) * 100)
    incoming.end(1012, "restarting")
    incoming.end(1001, "too late")
    assert incoming.ended is not None
    assert (incoming.ended.code, incoming.ended.reason) == (1012, "restarting")
    assert not incoming.messages
    assert incoming.waiting == 0
    incoming.parse()
    assert incoming.ended.code == 1012


@pytest.mark.parametrize("sizes", [[LIMIT + 1], [LIMIT, 1], [LIMIT - 1, 0, 2]])
def test_a_message_over_the_limit_ends_it(sizes: list[int]) -> None:
    incoming = opened()
    data = frames.frame(frames.BINARY, bytes(sizes[0]), fin=len(sizes) == 1)
    for index, size in enumerate(sizes[1:], 2):
        data += frames.frame(frames.CONT, bytes(size), fin=index == len(sizes))
    incoming.feed(data)
    assert incoming.ended is not None
    assert incoming.ended.word == "message_too_large"
    fits = opened()
    fits.feed(frames.frame(frames.BINARY, bytes(LIMIT)))
    assert all_of(fits) == [bytes(LIMIT)]


def test_text_that_is_none_ends_it_also_in_fragments() -> None:
    for data in (
        frames.frame(frames.TEXT, b"\xff"),
        frames.frame(frames.TEXT, b"\xc3", fin=False) + frames.frame(frames.CONT, b"("),
    ):
        incoming = opened()
        incoming.feed(data + frames.frame(frames.TEXT, b"after"))
        assert incoming.ended is not None
        assert incoming.ended.word == "upstream_protocol"
        assert not incoming.messages
    # Parts of a character may come apart.
    incoming = opened()
    incoming.feed(
        frames.frame(frames.TEXT, b"\xc3", fin=False)
        + frames.frame(frames.CONT, b"\xbc")
    )
    assert all_of(incoming) == ["\u00fc"]
