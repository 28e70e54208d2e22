"""Whatever a session sends: a response, a violation, or a truncation."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_proxy_middleware.upstream import h1

OK = b"HTTP/1.1 200 OK\r\n"
PLAIN = OK + b"content-length: 5\r\nx: y\r\n\r\nhello"
CHUNKED = (
    OK + b"transfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n"
    b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nx-t: 1\r\n\r\n"
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"
CLOSED = OK + b"\r\nhello"
WHOLE = [PLAIN, CHUNKED, INTERIM + PLAIN, INTERIM + CHUNKED, NO_CONTENT, NOT_MODIFIED]


class Reading:
    """A connection's reader and what it made of the bytes."""

    def __init__(self, *, is_head: bool = False) -> None:
        self.reader = h1.ResponseReader()
        self.message = h1.Message()
        self.reader.begin(self.message, is_head=is_head)

    def feed(self, *pieces: bytes) -> Reading:
        for piece in filter(None, pieces):
            self.reader.feed(piece)
        return self

    def outcome(self) -> tuple[int, object, bytes, bool, bool]:
        message = self.message
        body = message.take()
        return (
            message.status,
            list(message.headers),
            body,
            message.complete,
            self.reader.reusable,
        )


def read(*pieces: bytes, is_head: bool = False) -> Reading:
    return Reading(is_head=is_head).feed(*pieces)


@pytest.mark.parametrize("response", WHOLE)
def test_a_whole_response_leaves_the_connection_for_another(response: bytes) -> None:
    reading = read(response)
    body = b"hello" if response.endswith((b"hello", b"1\r\n\r\n")) else b""
    assert sum(map(len, reading.message.pieces)) == len(body)
    assert reading.outcome()[2:] == (body, True, True)
    assert reading.message.pieces == []


@given(st.sampled_from(WHOLE), st.lists(st.integers(0, 300)))
def test_any_split_of_a_response_reads_the_same(
    response: bytes, cuts: list[int]
) -> None:
    edges = [0, *sorted(min(cut, len(response)) for cut in cuts), len(response)]
    pieces = [response[a:b] for a, b in pairwise(edges) if b > a]
    assert read(*pieces).outcome() == read(response).outcome()


@given(st.lists(st.sampled_from(WHOLE), min_size=2, max_size=4))
def test_one_connection_carries_one_response_after_another(
    responses: list[bytes],
) -> None:
    reading = Reading()
    for response in responses:
        reading.message = h1.Message()
        reading.reader.begin(reading.message, is_head=False)
        assert reading.feed(response).outcome() == read(response).outcome()


@pytest.mark.parametrize(
    ("response", "reusable"),
    [
        (OK + b"content-length: 5\r\n\r\n", True),
        (OK + b"transfer-encoding: chunked\r\n\r\n", True),
        (OK + b"\r\n", True),
        (NOT_MODIFIED, True),
        (OK + b"connection: close\r\n\r\n", False),
        (OK + b"connection: x, Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", False),
        (OK + b"content-length: 5\r\n\r\nhello", False),
        (OK + b"content-length: 0\r\n\r\nHTTP", False),
    ],
)
def test_a_response_to_head_ends_at_its_head(response: bytes, reusable: bool) -> None:
    reading = read(response, is_head=True)
    assert reading.outcome()[2:] == (b"", True, reusable)


# What may be like the head of another, and is none that may be remembered.
ODD = [
    OK + b"content-length: 5\r\n\r\nhello" + PLAIN,
    OK + b"content-length: 5\r\nconnection: close\r\n\r\nhello",
    OK + b"content-length: 0\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + PLAIN,
    b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\nhello",
    b"\r\n" + PLAIN,
    OK + b"x: " + b"y" * 2_000 + b"\r\ncontent-length: 5\r\n\r\nhello",
    OK + b"content-length: 5\r\n\r\n\r\n\r\nh",
    CLOSED,
    # llhttp passes over line ends between two messages and says nothing of them.
    NOT_MODIFIED + b"\n\n\n\n\n",
    NOT_MODIFIED + b"hello",
    b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n\r\n\r\n\n",
    INTERIM + b"HTTP/1.1 204 No Content\r\ncontent-length: 92\r\n\r\n" + b"\n" * 10,
]


@given(
    st.lists(
        st.tuples(st.sampled_from([*WHOLE, *ODD]), st.integers(0, 80), st.booleans()),
        max_size=8,
    )
)
def test_a_head_that_is_known_is_read_as_it_was_the_first_time(
    responses: list[tuple[bytes, int, bool]],
) -> None:
    for response, cut, is_head in responses:
        found: list[object] = []
        for _ in range(2):  # With what is remembered by now, and with nothing.
            try:
                reading = read(response[:cut], response[cut:], is_head=is_head)
                found.append((reading.outcome(), reading.reader.started))
            except h1.ProtocolViolation as violation:
                found.append((str(violation), False))
            kept = dict(h1._HEADS)
            h1._HEADS.clear()
        assert found[0] == found[1]
        h1._HEADS.update(kept)


@pytest.mark.parametrize("former", [*WHOLE, *ODD])
def test_no_response_changes_what_the_next_is_read_as(former: bytes) -> None:
    for response in [*WHOLE, *ODD]:
        found: list[object] = []
        for before in (former, b""):
            h1._HEADS.clear()
            for _ in range(2):
                with contextlib.suppress(h1.ProtocolViolation):
                    read(before)
            try:
                found.append(read(response).outcome())
            except h1.ProtocolViolation as violation:
                found.append(str(violation))
        assert found[0] == found[1], response


def test_only_whole_responses_with_a_length_of_their_own_are_remembered() -> None:
    h1._HEADS.clear()
    for response in [*ODD[:4], *ODD[6:], CHUNKED, NO_CONTENT, NOT_MODIFIED]:
        with contextlib.suppress(h1.ProtocolViolation):
            read(response)
            read(response, is_head=True)
    assert list(h1._HEADS) == [OK + b"content-length: 5"]
    read(PLAIN[:30], PLAIN[30:])
    assert len(h1._HEADS) == 1
    assert read(PLAIN).message.headers is not read(PLAIN).message.headers
    assert read(PLAIN).message.headers is read(PLAIN).message.headers


def test_what_is_remembered_of_heads_is_bounded() -> None:
    for number in range(3 * h1._HEADS_KEPT):
        read(OK + b"content-length: 5\r\nx: %d\r\n\r\nhello" % number)
    assert 0 < len(h1._HEADS) <= h1._HEADS_KEPT


def test_a_response_to_head_does_not_disturb_the_next() -> None:
    reading = read(OK + b"content-length: 5\r\n\r\n", is_head=True)
    reading.message = h1.Message()
    reading.reader.begin(reading.message, is_head=False)
    assert reading.feed(PLAIN).outcome() == read(PLAIN).outcome()


@pytest.mark.parametrize(
    "response",
    [
        OK + b"content-length: 5\r\nconnection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ],
)
def test_a_response_that_says_close_is_the_last(response: bytes) -> None:
    assert read(response).outcome()[2:] == (b"hello", True, False)


@given(st.sampled_from(WHOLE), st.binary(min_size=1, max_size=30), st.booleans())
def test_bytes_after_a_response_end_the_connection_and_change_nothing(
    response: bytes, more: bytes, along: bool
) -> None:
    if not more.strip(b"\r\n"):
        return  # RFC 9112 §2.2: an empty line before a message is nothing.
    reading = read(response + more) if along else read(response, more)
    *message, reusable = reading.outcome()
    assert message == [*read(response).outcome()][:4]
    assert not reusable


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_response_or_one_of_two_failures(
    data: bytes, is_head: bool
) -> None:
    reading = Reading(is_head=is_head)
    try:
        reading.feed(data)
        reading.reader.eof()
    except (h1.ProtocolViolation, h1.Truncated):
        return
    assert reading.message.complete


@given(
    st.sampled_from([*WHOLE, CLOSED]),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
)
def test_a_damaged_response_is_a_response_or_one_of_two_failures(
    response: bytes, damages: list[tuple[int, int]]
) -> None:
    data = bytearray(response)
    for place, value in damages:
        data[place % len(data)] = value
    reading = Reading()
    try:
        reading.feed(bytes(data))
        reading.reader.eof()
    except (h1.ProtocolViolation, h1.Truncated):
        assert not reading.reader.reusable
    else:
        assert reading.message.complete


@given(st.sampled_from([PLAIN, CHUNKED]), st.data())
def test_a_response_cut_short_is_truncated(
    response: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(response) - 1))
    reading = read(response[:cut])
    with pytest.raises(h1.Truncated):
        reading.reader.eof()
    assert not reading.message.complete
    assert reading.reader.started is (cut > 0)


def test_a_body_without_framing_ends_with_the_stream() -> None:
    reading = read(CLOSED)
    assert not reading.message.complete
    reading.reader.eof()
    assert reading.outcome()[2:] == (b"hello", True, False)
    reading.reader.eof()


def test_a_stream_that_ends_after_the_response_is_no_failure() -> None:
    reading = read(PLAIN)
    reading.reader.eof()
    assert reading.outcome()[2:] == (b"hello", True, False)


@pytest.mark.parametrize(
    "response",
    [
        b"garbage\r\n\r\n",
        b"HTTP/3.7 200 OK\r\n\r\n",
        b"HTTP/1.1 099 X\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nraw",
        b"HTTP/1.1 100 Continue\r\ncontent-length: 2\r\n\r\nab" + PLAIN,
        OK + b"content-length: 1\r\ncontent-length: 1\r\n\r\na",
        OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
        OK + b"transfer-encoding: identity\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"bad name: x\r\n\r\n",
        OK + b"x: a\0b\r\n\r\n",
        OK + b"x: y\r\n folded\r\n\r\n",
        OK + b"x: y\nz: w\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
    ],
)
def test_what_is_no_response_is_a_violation(response: bytes) -> None:
    reading = Reading()
    with pytest.raises(h1.ProtocolViolation):
        reading.feed(response)
    assert not reading.reader.reusable


@pytest.mark.parametrize("status", [b"200 OK", b"103 Early Hints"])
@pytest.mark.parametrize(
    "fields",
    [
        b"x: y\r\n" * (h1.MAX_HEAD_FIELDS + 1),
        b"x: " + b"y" * h1.MAX_HEAD_BYTES + b"\r\n",
        b"x: %b\r\n" % (b"y" * 1000) * 66,
    ],
    ids=["many", "large", "both"],
)
@pytest.mark.parametrize("size", [100, 1 << 20], ids=["pieces", "whole"])
def test_a_head_without_bounds_is_a_violation(
    size: int, fields: bytes, status: bytes
) -> None:
    data = b"HTTP/1.1 " + status + b"\r\n" + fields + b"\r\n"
    with pytest.raises(h1.ProtocolViolation):
        read(*(data[at : at + size] for at in range(0, len(data), size)))


@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_interim_responses_without_end_are_a_violation(size: int) -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\n" * 5000
    with pytest.raises(h1.ProtocolViolation):
        read(*(data[at : at + size] for at in range(0, len(data), size)))


def test_a_head_that_never_ends_is_a_violation() -> None:
    reading = Reading()
    with pytest.raises(h1.ProtocolViolation):
        for _ in range(h1.MAX_HEAD_BYTES):
            reading.feed(
                b"HTTP/1.1 200 " + b"x" * 1000
                if not reading.reader.started
                else b"y" * 99
            )


IN_CHUNKS = OK + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("start", [b"", b"2\r\nok\r\n"], ids=["first", "later"])
@pytest.mark.parametrize(
    ("open_with", "then"),
    [
        (b"2;", b"a" * 99),
        (b'2;a="', b"a" * 99),
        (b"", b"0" * 99),
        (b"0\r\n", b"x: y\r\n" * 20),
        (b"0\r\nx: ", b"y" * 99),
        (b"0\r\n", b"x" * 99),
    ],
    ids=["extension", "quoted", "zeros", "trailers", "trailer", "trailer name"],
)
def test_what_is_no_body_has_bounds_after_the_head_too(
    start: bytes, open_with: bytes, then: bytes
) -> None:
    """CWE-400: none of it reaches the client, so nothing else would end it."""
    reading = read(IN_CHUNKS, start + open_with)
    with pytest.raises(h1.ProtocolViolation):
        for _ in range(h1.MAX_HEAD_BYTES // 99 + 1):
            reading.feed(then)


def test_what_is_no_body_is_counted_anew_after_each_byte_of_it() -> None:
    reading = read(OK + b"x: %b\r\n" % (b"y" * 60_000))
    reading.feed(b"transfer-encoding: chunked\r\n\r\n")
    for _ in range(10):
        reading.feed(b"1;" + b"a" * 40_000, b"\r\nx\r\n")
    reading.feed(b"0\r\nx: %b\r\n\r\n" % (b"y" * 40_000))
    assert reading.outcome()[2:] == (b"x" * 10, True, True)


def test_a_large_body_is_not_counted_with_the_head() -> None:
    data = OK + b"content-length: %d\r\n\r\n" % (1 << 18)
    reading = read(data, *[bytes(1 << 14)] * 16)
    assert reading.outcome()[2:] == (bytes(1 << 18), True, True)


def test_field_names_are_lower_case_and_values_as_they_came() -> None:
    reading = read(OK + b"X-A:  b \r\nSET-cookie: \xe9;A\r\ncontent-length: 0\r\n\r\n")
    fields = [(b"x-a", b"b"), (b"set-cookie", b"\xe9;A"), (b"content-length", b"0")]
    assert reading.message.headers == fields


def test_nothing_has_started_before_the_first_byte() -> None:
    reading = Reading()
    assert not reading.reader.started
    assert reading.feed(b"H").reader.started
    assert read(PLAIN).reader.started


@pytest.mark.parametrize("is_head", [True, False])
def test_a_session_that_offers_an_upgrade_has_only_offered_it(is_head: bool) -> None:
    """RFC 9110 §7.8: a server may name what it could speak in any response."""
    offer = b"upgrade: h2,h2c\r\nconnection: Upgrade\r\ncontent-length: 2\r\n\r\n"
    reading = read(OK + offer + (b"" if is_head else b"ok"), is_head=is_head)
    assert reading.outcome()[2:] == (b"" if is_head else b"ok", True, True)
